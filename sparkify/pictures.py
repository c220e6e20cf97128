"""The pictures of the answers: each takes what a question answered, and returns a Figure.

Where there is nothing to draw, it returns None. Whatever their size, they are readable: tests/
test_pictures.py draws them all from the most and the least that there may be.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator

from sparkify import charts
from sparkify.charts import BLUE, PALE, short
from sparkify.messages import count

ONE_DAY = timedelta(days=1)
WEEKS_SHOWN = 12
WEEK_BEGINS = "week that begins on (* is not whole)"
LISTENERS = ("listener", "listeners")
USERS = ("user", "users")


# What is played


def most_played_songs(songs, what="played"):
    """Draw the plays of songs, or those of the songs that are wanted."""
    if songs.empty:
        return None
    first = songs.iloc[0]
    names = songs["title"] + " – " + songs["artist"]
    title = f'"{short(first["title"])}" is {what} most, by {count(first["listeners"], *LISTENERS)}'
    pale = ~songs["in_catalogue"].astype(bool) if "in_catalogue" in songs else True
    return charts.bars(names, songs["plays"], title, "plays", pale)


def most_played_artists(artists):
    if artists.empty:
        return None
    first = artists.iloc[0]
    title = f"{short(first['artist'])} is played most, by {count(first['listeners'], *LISTENERS)}"
    pale = ~artists["in_catalogue"].astype(bool)
    return charts.bars(artists["artist"], artists["plays"], title, "plays", pale)


# When


def activity_by_hour(hours, time_zone):
    if not hours["plays"].any():
        return None
    title = f"The busiest hour begins at {hours['plays'].idxmax()}:00 {time_zone}"
    about = f"hour of the day ({time_zone})"
    return charts.columns(hours["hour"], hours["plays"], title, about, "plays")


def activity_by_weekday(weekdays, time_zone):
    """Draw the plays of an average day: the period may have one weekday more often than another."""
    if not weekdays["plays"].any():
        return None
    plays_per_day = (weekdays["plays"] / weekdays["days"]).fillna(0)
    title = f"{weekdays['weekday'][plays_per_day.idxmax()]} is the busiest day of the week"
    about = f"day of the week ({time_zone})"
    return charts.columns(weekdays["weekday"], plays_per_day, title, about, "plays per day")


def activity_by_weekday_and_hour(week, weekdays, time_zone):
    """Draw the plays of an average hour; `weekdays` says how many of each there are."""
    if not week["plays"].any():
        return None
    plays = week.pivot(index="weekday", columns="hour", values="plays")
    plays = plays.loc[weekdays["weekday"]]
    per_hour = plays.div(weekdays.set_index("weekday")["days"].replace(0, np.nan), axis="index")
    day, hour = per_hour.stack().idxmax()
    title = f"The busiest hour of the week begins on {day} at {hour}:00 {time_zone}"
    per_hour = per_hour.rename_axis(index=None, columns=f"hour of the day ({time_zone})")
    return charts.heat_map(per_hour, title, "plays per hour")


def activity_by_day(days):
    if days.empty:
        return None
    days = days.set_index("day")
    busiest = days["plays"].idxmax()
    most = (
        f"{busiest:%A}, {busiest.day} {busiest:%B %Y} had the most plays: {days['plays'].max():,}"
    )
    return charts.lines_by_day(days, most)


def active_users(active):
    """Draw the users of days and months, dotted where the month is not in the data as a whole."""
    if active.empty:
        return None
    active = active.set_index("day")
    whole = active["whole_month"].astype(bool)
    measures = active[["daily_users", "monthly_users", "stickiness"]]
    unsure = dict.fromkeys(["monthly_users", "stickiness"], ~whole)
    title = f"Users on an average day: {charts.brief(active['daily_users'].mean())}"
    if whole.any():
        title += f"; in the last 30 days: {active['monthly_users'].iloc[-1]:,}"
    return charts.lines_by_day(measures, title, ["stickiness"], unsure)


# Who and where


def plays_by_metropolitan_area(areas):
    areas = areas.head(10)
    if areas.empty:
        return None
    names = areas["metropolitan_area"].fillna("unknown")
    title = f"{short(names[0])} has the most plays, by {count(areas['users'][0], *USERS)}"
    return charts.bars(names, areas["plays"], title, "plays")


def plays_by_week_and_state(states):
    """Draw the plays of the last weeks in the ten states that had most of them."""
    if states.empty:
        return None
    weeks = states.groupby("week")["whole_week"].first().tail(WEEKS_SHOWN)
    states = states[states["week"].isin(weeks.index)].fillna({"state": "unknown"})
    plays = states.pivot_table(index="state", columns="week", values="plays", aggfunc="sum")
    plays = plays.loc[plays.sum(axis=1).nlargest(10).index]
    greatest = plays.sum(axis=1).iloc[:3]
    share = greatest.sum() / states["plays"].sum()
    names = ", ".join(charts.fit(name, 2) for name in greatest.index)
    title = f"{share:.0%} of the plays in {count(len(weeks), 'week', 'weeks')} come from {names}"
    plays = plays.set_axis(charts.name_weeks(weeks), axis="columns")
    return charts.heat_map(plays.rename_axis(columns=WEEK_BEGINS), title, "plays")


def plays_by_group(rows, days, per_user):
    """Draw the plays by day of each gender, or level: of the group that stands beside the day.

    `days` are those of the whole period; `per_user` has the shares of all plays and users.
    """
    group = rows.columns[1]
    of_group = {"gender": "of gender", "level": "on the level"}[group]
    shares = per_user[per_user["grouped_by"] == group]
    if rows.empty or shares.empty:
        return None
    plays = rows.fillna({group: "unknown"}).pivot_table("plays", "day", group, "sum")
    plays = plays[plays.sum().sort_values(ascending=False).index[:4]]
    greatest = shares.nlargest(1, "plays").iloc[0]
    title = (
        f"{greatest['share_of_plays']:.0%} of the plays are by the "
        f"{greatest['share_of_users']:.0%} of users {of_group} {short(plays.columns[0])}"
    )
    return charts.lines_of_groups(plays.reindex(days["day"]).fillna(0), title, "plays")


def level_changes_by_week(changes):
    changes = changes.tail(WEEKS_SHOWN)
    if changes.empty:
        return None
    up, down = changes["to_paid"], changes["to_free"]
    fig, ax = charts.new_figure(f"Changes to paid: {up.sum():,}, to free: {down.sum():,}", 2.7)
    ax.bar(range(len(up)), up, color=BLUE, label="to paid")
    ax.bar(range(len(up)), -down, color=PALE, edgecolor=BLUE, label="to free")
    ax.axhline(0, color="black", lw=0.8)
    ax.yaxis.set_major_locator(charts.choose_numbers(5))
    ax.yaxis.set_major_formatter(lambda number, _: charts.exact(abs(number)))
    ax.set_ylabel("changes")
    mark_weeks(ax, changes)
    charts.add_legend(ax)
    return fig


def mark_weeks(ax, rows):
    """Name the weeks of rows that are drawn from left to right."""
    names = charts.name_weeks(rows.set_index("week")["whole_week"])
    ax.set_xticks(range(len(rows)), names)
    ax.set(xlabel=WEEK_BEGINS, xlim=(-0.6, len(rows) - 0.4))


# How engaged


def sessions_per_user(users):
    """Draw how many users have how many sessions; the few that have far more come last."""
    if users.empty:
        return None
    sessions = users["sessions"]
    edges = choose_bins(sessions)
    few = f"{sessions.median():,.10g} sessions or fewer"
    title = f"Half of the {len(sessions):,} users have {few}"
    if len(sessions) == 1:
        title = f"The only user has {count(sessions.max(), 'session', 'sessions')}"
    fig, ax = charts.new_figure(title, 2.7)
    drawn = ax.hist(sessions.clip(upper=edges[-1] - 0.5), bins=edges, color=BLUE, edgecolor="white")
    ax.set(xlabel="sessions", ylabel="users", xlim=(edges[0], edges[-1]))
    ax.xaxis.set_major_locator(charts.choose_numbers(12))
    ax.xaxis.set_major_formatter(charts.exact)
    charts.count_from_zero(ax)
    if (more := sessions[sessions > edges[-1]]).any():
        text = f"with {edges[-2] + 0.5:,.0f} or more: {count(int(drawn[0][-1]), *USERS)}"
        ax.set_title(f"The last bar: {text}, {more.max():,} at most", loc="right", size=10)
    return fig


def choose_bins(numbers):
    """Return the edges of at most 40 bins of a round width, for nearly all of some counts.

    What is above twice that of 98 in 100 would press all others together: the last bin has it.
    """
    greatest = min(numbers.max(), 2 * max(np.percentile(numbers, 98), 5))
    widths = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    width = next(width for width in widths if greatest / width <= 40)
    return np.arange(0.5, greatest + width + 0.5, width)


def sessions_without_play(begun):
    if not begun["sessions"].sum():
        return None
    share = begun["without_play"].sum() / begun["sessions"].sum()
    fig, ax = charts.new_figure(f"{share:.0%} of the sessions end without a play", 2.7)
    days = list(begun["day"])
    edges = [pd.Timestamp(day) - pd.Timedelta(hours=12) for day in (*days, days[-1] + ONE_DAY)]
    ax.stairs(begun["sessions"], edges, fill=True, color=PALE, label="all sessions")
    ax.stairs(begun["without_play"], edges, fill=True, color=BLUE, label="without a play")
    ax.set_ylabel("sessions")
    charts.count_from_zero(ax)
    charts.mark_days(ax, days)
    ax.set_xlabel("day on which they began (UTC)")
    charts.add_legend(ax)
    return fig


def returning_users(returning):
    """Draw the share of each week's new users that plays in the twelve weeks after it."""
    cells = {"index": "first_week", "columns": "weeks_later"}
    users = returning.pivot(**cells, values="users")
    if 1 not in users:
        return None
    is_whole = returning.pivot(**cells, values="whole_week")
    title = "Few data yet: no week after users' first is whole"
    if (sure := is_whole[1].eq(True)).any():
        back, all_users = users.loc[sure, [1, 0]].sum()
        title = f"{back / all_users:.0%} of the users play again in the week after their first"
    shares = users.div(users[0], axis="index").tail(WEEKS_SHOWN).dropna(axis="columns", how="all")
    shares = shares.iloc[:, : WEEKS_SHOWN + 1]
    partial = is_whole.eq(False).loc[shares.index, shares.columns]
    names = charts.name_weeks(pd.Series(True, index=shares.index))
    names = [name.replace("\n", " ") for name in names]
    shares = shares.set_axis(names).rename_axis(index="week of first play", columns="weeks later")
    return charts.heat_map(
        shares, title, "share of the users", "{:.0%}".format, partial.set_axis(names)
    )


def stopped_users(weeks):
    """Draw the users of each week and those who stay away; of the latest it isn't known."""
    followed = weeks.dropna(subset=["stopped"])
    weeks = weeks.tail(WEEKS_SHOWN).reset_index(drop=True)
    if weeks.empty:
        return None
    title = "The data are too short to say who stopped coming"
    if followed["users"].sum():
        share = followed["stopped"].sum() / followed["users"].sum()
        title = f"{share:.0%} of the users of a week stay away for 14 days after it"
    fig, ax = charts.new_figure(title, 2.7)
    known = weeks["stopped"].notna()
    colors = np.where(known, PALE, "white")
    ax.bar(weeks.index, weeks["users"], color=colors, edgecolor=BLUE, label="came in that week")
    ax.bar(weeks.index, weeks["stopped"].fillna(0), color=BLUE, label="and then stopped")
    for week, users in weeks.loc[~known & weeks["users"].gt(0), "users"].items():
        ax.text(week, users / 2, "?", ha="center", va="center")
    ax.set_ylabel("users")
    charts.count_from_zero(ax)
    mark_weeks(ax, weeks)
    charts.add_legend(ax)
    return fig


# What else


def page_views_by_level(pages):
    """Draw the views per 100 plays of the fifteen pages that are seen most."""
    rates = pages.fillna({"level": "unknown"}).dropna(subset=["views_per_100_plays"])
    if rates.empty:
        return None
    table = rates.pivot(index="page", columns="level", values="views_per_100_plays")
    order = rates.groupby("page")["views"].sum().sort_values(ascending=False, kind="stable").index
    first = rates.nlargest(1, "views_per_100_plays").iloc[0]
    title = (
        f"{short(first['page'])} is seen {charts.brief(first['views_per_100_plays'])} times "
        f"per 100 plays on the level {first['level']}"
    )
    return charts.heat_map(table.loc[order[:15]], title, "views per 100 plays")


def ways_between_levels(ways):
    """Draw for each way those who see its first page and, pale, those who go on to submit."""
    if ways.empty:
        return None
    labels = ways[["page", "submitting_page"]].to_numpy().ravel()
    values = ways[["users", "submitting_users"]].to_numpy().ravel()
    title = f"{ways['share'][0]:.0%} of those who see {ways['page'][0]} submit it"
    if pd.notna(days := ways["median_days_from_first_play"][0]):
        title += f", half within {count(round(days), 'day', 'days')} of their first play"
    return charts.bars(labels, values, title, "users", [False, True] * len(ways))


# The platform


def plays_by_browser_and_system(platforms):
    if platforms.empty:
        return None
    table = platforms.pivot(index="browser", columns="operating_system", values="plays")
    browser, system = platforms.iloc[0, :2]
    share = platforms["plays"][0] / platforms["plays"].sum()
    title = f"{browser} on {system} has the most plays, {share:.0%} of them"
    return charts.heat_map(table.rename_axis(columns="operating system"), title, "plays")


def requests_by_day(requests):
    if requests.empty:
        return None
    requests = requests.set_index("day")
    errors, share = requests["errors"].sum(), requests["share_of_errors"].astype(float)
    of_all = round(errors / requests["requests"].sum(), 4)
    title = f"{charts.percent(of_all)} of the requests are errors"
    if errors:
        worst = share.idxmax()
        title += f", most on {worst.day} {worst:%B %Y}: {charts.percent(share.max())}"
    measures = requests[["requests"]].assign(errors=share)
    measures = measures.rename(columns={"errors": "errors in 100 requests"})
    return charts.lines_by_day(measures, title, ["errors in 100 requests"])


def silent_hours(silences):
    """Draw how improbable the ten rarest silences are; pale ones are to be expected."""
    silences = silences.head(10)
    if silences.empty:
        return None
    begin = silences["start_time"].dt.strftime("%a %Y-%m-%d %H:%M")
    first = silences.iloc[0]
    title = f"The service may have been down in the {first['hours']} h from {begin[0]} UTC"
    if first["once_in_periods"] < 1:
        title += ", but chance alone may explain every silence"
    fig, ax = charts.new_figure(title, 0.9 + 0.26 * len(silences))
    draw_periods(ax, silences["once_in_periods"].clip(lower=0.01))
    ax.set_yticks(range(len(silences)), begin + ", " + silences["hours"].astype(str) + " h")
    ax.set_ylim(len(silences) - 0.4, -0.6)
    ax.set_xlabel("chance has a silence like this once in so many such periods")
    return fig


def draw_periods(ax, periods):
    """Draw bars from 1, to the left and to the right, on a logarithmic axis."""
    colors = np.where(periods >= 1, BLUE, PALE)
    ax.barh(range(len(periods)), periods - 1, left=1, color=colors, edgecolor=BLUE)
    for row, value in enumerate(periods):
        text, end = (f"{value:,.0f}" if value >= 10 else f"{value:.2g}"), (max(value, 1), row)
        ax.annotate(text, end, xytext=(4, 0), textcoords="offset points", va="center")
    ax.axvline(1, color="black", lw=0.8)
    ax.set_xscale("log")
    ax.set_xlim(min(*periods, 1) / 2, max(*periods, 1) * 10)
    ax.xaxis.set_major_locator(FixedLocator([10.0**power for power in range(-2, 7)]))
    ax.xaxis.set_minor_locator(FixedLocator([]))
    ax.xaxis.set_major_formatter(charts.exact)
