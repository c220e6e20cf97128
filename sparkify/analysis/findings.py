"""What stands out, in five sentences with their figures, each from an answer of ask.

They hold for a service of one user, too: among equals, none is called the greatest.
"""

from sparkify.analysis.answers import spell
from sparkify.analysis.charts import percent
from sparkify.messages import count, name_period


def list_findings(figures, songs, users, hours, changes, time_zone):
    """Return the sentences, in plain text.

    They are made of the key figures, the most played songs, the sessions per user, the activity by
    hour in a time zone, and the changes of level by week.
    """
    figures = figures.iloc[0]
    return [
        describe_period(figures),
        describe_songs(songs, figures),
        describe_users(users["plays"].sort_values(ascending=False), figures["plays"]),
        describe_hours(hours, time_zone),
        describe_service(figures, changes),
    ]


def describe_period(figures):
    first, last, plays = figures["first_day"], figures["last_day"], figures["plays"]
    days = (last - first).days + 1
    users = count(figures["users"], "user")
    played = f"{users} played songs {count(plays, 'time')}"
    if days == 1:
        return f"{played} on {name_period(first, last)}."
    mean = f"{plays / days:,.0f}" if plays >= 10 * days else f"{plays / days:.2g}"
    return f"{played} in the {days:,} days from {name_period(first, last)}: {mean} plays a day."


def describe_songs(songs, figures):
    if songs.empty:
        return "No song was played."
    first, plays = songs.iloc[0], songs["plays"]
    catalogue = (
        f"the catalogue has the songs of {percent(figures['share_in_catalogue'])} of the plays"
    )
    if len(songs) > 1 and plays[1] == plays[0]:
        return f"No song is played more than all others; {catalogue}."
    title = f'"{spell(first["title"])}" by {spell(first["artist"])}'
    listeners = count(first["listeners"], "user")
    what = "is played most" if len(songs) > 1 else "is the only song played"
    return f"{title} {what}, {count(plays[0], 'time')} by {listeners}; {catalogue}."


def describe_users(plays, of_all):
    """Describe how much the most active play, by the plays of each user, the most first."""
    if len(plays) < 2:
        return "All plays are by one user." if len(plays) else "No user has played."
    few = max(len(plays) // 10, 1)
    if few == 1 and plays.iloc[0] == plays.iloc[1]:
        return "No user plays more than all others."
    who = f"most active of the {len(plays)} users makes"
    if few > 1:
        who = f"most active tenth of the users, {few:,} of {len(plays):,}, make"
    share = percent(round(plays.iloc[:few].sum() / of_all, 3))
    half = f"half of the users have {plays.median():,.10g} plays or fewer"
    return f"The {who} {share} of the plays; {half}."


def describe_hours(hours, time_zone):
    plays = hours.set_index("hour")["plays"].sort_values(ascending=False)
    if plays.iloc[0] == plays.iloc[1]:
        return "No hour of the day has more plays than all others."
    share = percent(round(plays.iloc[0] / plays.sum(), 3))
    begins = f"begins at {plays.index[0]}:00 {time_zone}"
    return f"The hour of the day with the most plays {begins}: it has {share} of them."


def describe_service(figures, changes):
    errors = f"{figures['errors']:,} of {figures['requests']:,} requests were errors"
    up, down = (int(changes[name].sum()) for name in ("to_paid", "to_free"))
    if not up and not down:
        return f"{errors}; no user changed the level."
    up, down = count(up, "time"), count(down, "time")
    return f"{errors}; users changed to the level paid {up}, back to free {down}."
