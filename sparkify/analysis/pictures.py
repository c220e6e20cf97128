"""The pictures of the answers: each takes what a question answered, and returns a Figure.

Where there is nothing to draw, it returns None. Whatever their size, they are readable:
tests/analysis/test_pictures.py draws them from the most and the least that there may be.
"""

from datetime import timedelta

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator

from sparkify.analysis import charts
from sparkify.analysis.charts import BLUE, PALE, short
from sparkify.messages import count

ONE_DAY, YEAR = timedelta(days=1), timedelta(days=366)
WEEKS_SHOWN = 12
WEEK_BEGINS = "week that begins on (* is not whole)"
SUSPICIOUS = 10  # periods: of services that were never down, one in ten has a silence like that


def claim_most(values, claim, nothing_else):
    """Return a title on the greatest of some values: the claim or, of equals, nothing_else."""
    greatest = values[values == values.max()]
    if len(greatest) == 1:
        return claim(greatest.index[0])
    return f"{nothing_else}: {len(greatest)} are equal, with {charts.brief(greatest.iloc[0])} each"


def most_plays(values):
    """Return how many plays the greatest of some numbers stands for, in words."""
    return "all the plays" if len(values) == 1 else "the most plays"


def longest_stretch(by_day):
    """Return, by day, the rows of the longest time without a gap of a year, and what is left out.

    The latter is the end of a title: a picture of millennia would show nothing.
    """
    days = list(by_day["day"])
    gaps = [after - before > YEAR for before, after in zip(days, days[1:], strict=False)]
    stretches = pd.Series([False, *gaps], index=by_day.index).cumsum()
    is_drawn = stretches == stretches.mode().iloc[0]
    others = (~is_drawn).sum()
    left_out = f"; {count(others, 'day')} more than a year away not drawn" if others else ""
    return by_day[is_drawn].set_index("day"), left_out


# What is played


def most_played_songs(songs, what="played"):
    """Draw the plays of songs, or those of the songs that are wanted."""
    names = songs["title"] + " – " + songs["artist"]
    return most_played(songs, names, f"song is {what}", lambda at: f'"{short(songs["title"][at])}"')


def most_played_artists(artists):
    name = artists["artist"]
    return most_played(artists, name, "artist is played", lambda at: short(name[at]))


def most_played(rows, names, what, name_of):
    if rows.empty:
        return None
    verb = what.partition(" ")[2]
    claim = f"Only {{}} {verb}" if len(rows) == 1 else f"{{}} {verb} most"
    title = claim_most(
        rows["plays"],
        lambda at: f"{claim.format(name_of(at))}, by {count(rows['listeners'][at], 'listener')}",
        f"No {what} most",
    )
    pale = ~rows["in_catalogue"].astype(bool) if "in_catalogue" in rows else True
    return charts.bars(names, rows["plays"], title, "plays", pale)


# When


def activity_by_hour(hours, time_zone):
    if not hours["plays"].any():
        return None
    busiest = claim_most(
        hours["plays"],
        lambda hour: f"The busiest hour begins at {hour}:00 {time_zone}",
        "No hour of the day is the busiest",
    )
    about = f"hour of the day ({time_zone})"
    return charts.columns(hours["hour"], hours["plays"], busiest, about, "plays")


def activity_by_local_hour(hours):
    return activity_by_hour(hours.dropna(subset=["hour"]).astype({"hour": int}), "local time")


def activity_by_weekday(weekdays, time_zone):
    """Draw the plays of an average day: the period may have one weekday more often than another."""
    plays_per_day = weekdays["plays_per_day"].astype(float)
    if not plays_per_day.any():
        return None
    title = claim_most(
        plays_per_day,
        lambda at: f"{weekdays['weekday'][at]} is the busiest day of the week",
        "No day of the week is the busiest",
    )
    about = f"day of the week ({time_zone})"
    return charts.columns(weekdays["weekday"], plays_per_day, title, about, "plays per day")


def activity_by_weekday_and_hour(week, time_zone):
    """Draw the plays of an average hour."""
    per_hour = week["plays_per_hour"].astype(float)
    if not per_hour.any():
        return None
    title = claim_most(
        per_hour,
        lambda at: (
            "The busiest hour of the week begins on "
            f"{week['weekday'][at]} at {week['hour'][at]}:00 {time_zone}"
        ),
        "No hour of the week is the busiest",
    )
    table = week.assign(per_hour=per_hour).pivot(index="weekday", columns="hour", values="per_hour")
    table = table.loc[week["weekday"].unique()]
    table = table.rename_axis(index=None, columns=f"hour of the day ({time_zone})")
    return charts.heat_map(table, title, "plays per hour")


def activity_by_day(days):
    if days.empty:
        return None
    days, left_out = longest_stretch(days)
    most = claim_most(
        days["plays"],
        lambda day: (
            f"{day:%A}, {day.day} {day:%B %Y} had {most_plays(days)}: {days['plays'].max():,}"
        ),
        "No day had the most plays",
    )
    return charts.lines_by_day(days, most + left_out)


def active_users(active):
    """Draw the users of days and months, dotted where the month is not in the data as a whole."""
    if active.empty:
        return None
    active, left_out = longest_stretch(active)
    whole = active["whole_month"].astype(bool)
    measures = active[["daily_users", "monthly_users", "stickiness"]]
    unsure = dict.fromkeys(["monthly_users", "stickiness"], ~whole)
    title = f"Users on an average day: {charts.brief(active['daily_users'].mean())}"
    if whole.any():
        title += f"; in the last 30 days: {active['monthly_users'].iloc[-1]:,}"
    return charts.lines_by_day(measures, title + left_out, ["stickiness"], unsure)


# Who and where


def plays_by_metropolitan_area(areas):
    areas = areas.head(10)
    if areas.empty:
        return None
    names = areas["metropolitan_area"].fillna("unknown")
    title = claim_most(
        areas["plays"],
        lambda at: (
            f"{short(names[at])} has {most_plays(areas)}, by {count(areas['users'][at], 'user')}"
        ),
        "No place has the most plays",
    )
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
    title = f"{share:.0%} of the plays in {count(len(weeks), 'week')} come from {names}"
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
    first = shares.nlargest(1, "plays").iloc[0]
    title = (
        f"{first['share_of_plays']:.0%} of the plays are by the {first['share_of_users']:.0%} of "
        f"users {of_group} {short(plays.columns[0])}"
    )
    if len(shares) == 1:
        title = f"All plays are by users {of_group} {short(plays.columns[0])}"
    if pd.notna(without := first["share_without_top_user"]) and len(shares) > 1:
        title += f", {without:.0%} without the most active of them"
    days, left_out = longest_stretch(days)
    plays = plays.reindex(days.index).fillna(0)
    return charts.lines_of_groups(plays, title + left_out, "plays")


def level_changes_by_week(changes):
    changes = changes.tail(WEEKS_SHOWN)
    if changes.empty:
        return None
    up, down = changes["to_paid"], changes["to_free"]
    title = f"First plays after a change to paid: {up.sum():,}, to free: {down.sum():,}"
    fig, ax = charts.new_figure(title, 2.7)
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
        title = f"The only user has {count(sessions.max(), 'session')}"
    fig, ax = charts.new_figure(title, 2.7)
    drawn = ax.hist(sessions.clip(upper=edges[-1] - 0.5), bins=edges, color=BLUE, edgecolor="white")
    ax.set(xlabel="sessions", ylabel="users", xlim=(edges[0], edges[-1]))
    ax.xaxis.set_major_locator(charts.choose_numbers(12))
    ax.xaxis.set_major_formatter(charts.exact)
    charts.count_from_zero(ax)
    if (more := sessions[sessions > edges[-1]]).any():
        text = f"with {edges[-2] + 0.5:,.0f} or more: {count(int(drawn[0][-1]), 'user')}"
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
    if not begun["sessions_begun"].sum():
        return None
    begun, left_out = longest_stretch(begun)
    share = begun["without_play"].sum() / begun["sessions_begun"].sum()
    title = f"{share:.0%} of the sessions end without a play{left_out}"
    fig, ax = charts.new_figure(title, 2.7)
    days = list(begun.index)
    edges = [pd.Timestamp(day) - pd.Timedelta(hours=12) for day in (*days, days[-1] + ONE_DAY)]
    ax.stairs(begun["sessions_begun"], edges, fill=True, color=PALE, label="all sessions")
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
    shares = returning.pivot(**cells, values="share").astype(float).tail(WEEKS_SHOWN)
    shares = shares.dropna(axis="columns", how="all").iloc[:, : WEEKS_SHOWN + 1]
    if shares.empty or 1 not in returning["weeks_later"].to_numpy():
        return None
    known = returning["whole_week"].eq(True) & returning["first_week"].isin(shares.index)
    known &= returning["weeks_later"].eq(1) & (
        returning["first_week"] > returning["first_week"].min()
    )
    back, new = returning.loc[known, ["users", "new_users"]].sum()
    title = "Too few data to say how many new users come again"
    if new:
        title = f"{back / new:.0%} of the new users play again in the week after their first"
    partial = returning.pivot(**cells, values="whole_week").eq(False)
    sizes = returning.groupby("first_week")["new_users"].first()[shares.index]
    names = charts.name_weeks(pd.Series(True, index=shares.index))
    names = [
        f"{name} ({size:,})".replace("\n", " ") for name, size in zip(names, sizes, strict=True)
    ]
    partial = partial.loc[shares.index, shares.columns].set_axis(names)
    about = {"index": "week of first play (users)", "columns": "weeks later"}
    shares = shares.set_axis(names).rename_axis(**about)
    return charts.heat_map(shares, title, "share of the users", "{:.0%}".format, partial)


def stopped_users(weeks):
    """Draw the users of each week and those who stay away; of the latest it isn't known."""
    weeks = weeks.tail(WEEKS_SHOWN).reset_index(drop=True)
    followed = weeks.dropna(subset=["stopped"])
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
    title = claim_most(
        rates["views_per_100_plays"],
        lambda at: (
            f"{short(rates['page'][at])} is seen "
            f"{charts.brief(rates['views_per_100_plays'][at])} times per 100 plays on the level "
            f"{rates['level'][at]}"
        ),
        "No page is seen most",
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
        title += f", half within {count(round(days), 'day')} of their first play"
    return charts.bars(labels, values, title, "users", [False, True] * len(ways))


# The platform


def plays_by_browser_and_system(platforms):
    if platforms.empty:
        return None
    table = platforms.pivot(index="browser", columns="operating_system", values="plays")
    shares = platforms["plays"] / platforms["plays"].sum()
    title = claim_most(
        shares,
        lambda at: (
            f"{platforms['browser'][at]} on {platforms['operating_system'][at]} has "
            f"{most_plays(shares)}, {shares[at]:.0%} of them"
        ),
        "No browser has the most plays",
    )
    return charts.heat_map(table.rename_axis(columns="operating system"), title, "plays")


def requests_by_day(requests):
    if requests.empty:
        return None
    requests, left_out = longest_stretch(requests)
    errors, share = requests["errors"].sum(), requests["share_of_errors"].astype(float)
    of_all = round(errors / max(requests["requests"].sum(), 1), 4)
    title = f"{charts.percent(of_all)} of the requests are errors"
    if errors:
        worst = share.idxmax()
        title += f", most on {worst.day} {worst:%B %Y}: {charts.percent(share.max())}"
    measures = requests[["requests"]].assign(errors=share)
    measures = measures.rename(columns={"errors": "errors in 100 requests"})
    return charts.lines_by_day(measures, title + left_out, ["errors in 100 requests"])


def silent_hours(silences):
    """Draw how improbable the ten rarest silences are; pale ones are to be expected."""
    silences = silences.head(10)
    if silences.empty:
        return None
    begin = silences["start_time"].dt.strftime("%a %Y-%m-%d %H:%M")
    first = silences.iloc[0]
    title = "No silence is so long that chance alone may not explain it"
    if first["once_in_periods"] >= SUSPICIOUS:
        title = f"The service may have been down in the {first['hours']} h from {begin[0]} UTC"
    fig, ax = charts.new_figure(title, 0.9 + 0.26 * len(silences))
    draw_periods(ax, silences["once_in_periods"].clip(lower=0.01))
    ax.set_yticks(range(len(silences)), begin + ", " + silences["hours"].astype(str) + " h")
    ax.set_ylim(len(silences) - 0.4, -0.6)
    ax.set_xlabel("chance has a silence like this once in so many such periods")
    return fig


def draw_periods(ax, periods):
    """Draw bars from 1, to the left and to the right, on a logarithmic axis."""
    colors = np.where(periods >= SUSPICIOUS, BLUE, PALE)
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
