"""The analysts' questions, each with the query that answers it, and what their columns mean.

Days and weeks are those of UTC, weeks begin on Monday; activity by hour and weekday is in the time
zone that is asked for. Minutes are those of the songs played, whether or not the user heard them to
their end. A song is known by title and artist, a session by what sessions.py says. Days and weeks
without data are listed between those with data, unless they are a year. The logs hold no times in
which pages load: nothing here says how fast the service answers.
"""

from sparkify.analysis.questions import accounts, activity, music, pages, platform, users

# Of parameters that need not be given.
DEFAULTS = {"time_zone": "UTC", "limit": "10"}

# For a session that asks: what is grouped stays in memory, several processes count, an index that
# holds all that is asked for is read rather than the five times larger table, and nothing is
# compiled, which takes longer than most questions do.
SETTINGS = """
SET LOCAL work_mem = '256MB';
SET LOCAL parallel_tuple_cost = 0.01;
SET LOCAL random_page_cost = 1.1;
SET LOCAL jit = off
"""

# Sessions, and weeks since registration, are grouped user by user: FROM users CROSS JOIN LATERAL
# what is grouped of songplays WHERE songplays.user_id = users.user_id. The index of the natural key
# has each user's plays side by side, and one user's sessions fit the processor's cache, where those
# of all users don't. So one process takes no longer than two that group all of them at once, and
# half as much of the processor. Of days, which are fewer, two processes take less time.

# By the question that each answers. Some take parameters: user_id and limit, or time_zone.
analytics_queries = {
    "key figures": activity.key_figures,
    "most played songs": music.most_played_songs,
    "most played artists": music.most_played_artists,
    "favourite artists of a user": music.favourite_artists,
    "favourite artists by gender, level and state": music.favourites_of_groups,
    "songs that rise and fall": music.rising_songs,
    "songs of the catalogue that nobody plays": music.unplayed_songs,
    "most wanted songs that the catalogue lacks": music.most_wanted_songs,
    "activity by hour": activity.activity_by_hour,
    "activity by hour where the listeners are": activity.activity_by_local_hour,
    "activity by weekday": activity.activity_by_weekday,
    "activity by weekday and hour": activity.activity_by_weekday_and_hour,
    "plays, users and sessions by day": activity.activity_by_day,
    "plays and users by metropolitan area": activity.plays_by_metropolitan_area,
    "plays and users by week and state": activity.plays_by_week_and_state,
    "plays and users by day and gender": activity.plays_by_day_and_gender,
    "plays and users by day and level": activity.plays_by_day_and_level,
    "plays per user by gender and by level": activity.plays_per_user,
    "daily and monthly active users": activity.active_users,
    "changes of level": users.level_changes,
    "changes of level by week": users.level_changes_by_week,
    "sessions per user": users.sessions_per_user,
    "a typical user and session": users.typical_engagement,
    "returning users by week of first play": users.returning_users,
    "users who stopped coming": users.stopped_users,
    "page views by page and level": pages.page_views_by_level,
    "sessions without a play": pages.sessions_without_play,
    "the ways to paid, back to free and away": pages.ways_between_levels,
    "from Register to the first play": pages.registrations,
    "registered users who have never played": accounts.never_played,
    "new users by week of registration": accounts.new_users_by_week,
    "plays by weeks since registration": accounts.plays_by_tenure,
    "groups of the A/B test": accounts.test_groups,
    "songs to recommend to a user": music.recommendations,
    "plays and users by browser and operating system": platform.plays_by_browser_and_system,
    "requests and errors by day": platform.requests_by_day,
    "requests and errors by page": platform.requests_by_page,
    "hours in which the service may have been down": platform.silent_hours,
    "how long the loads take": platform.load_times,
    "how far the data can be trusted": platform.trust,
    "how the loads went": platform.load_runs,
}

# What is said in place of an answer without rows, where that there are none isn't all of it.
NONE = {
    "new users by week of registration": "no page view says that anybody registered since the data "
    "begin",
    "plays by weeks since registration": "no page view says when anybody who has played registered",
    "groups of the A/B test": "no page view names one",
}

# What a column holds, for those whose name doesn't say it, whatever the question.
LEGENDS = {
    "change": "plays less those of the seven days before",
    "days": "such days that the data cover, parts of days as parts",
    "errors": "requests that were answered with a status of 400 or above",
    "hours": "such hours that the data cover, parts of hours as parts; of a silence, its length",
    "in_catalogue": "whether the catalogue has the song, or one by the artist",
    "kind": "whether the files hold songs or logs",
    "listeners": "users who played it",
    "logged_out_views": "views of which the log names no user",
    "median": "half have this or less",
    "median_days_from_first_play": "days from a user's first play until half have submitted",
    "median_days_to_first_play": "days from registering until half of playing_users had played; 0 "
    "for those who had played before",
    "median_plays": "half of the users have so many plays or fewer",
    "monthly_users": "users who came on the day or the 29 days before it",
    "new_users": "users whose first play in the data was in that week",
    "of_all": "how many there are in all",
    "of_them_back_later": "those of them who came again after the 14 days",
    "of_them_played_before": "those of them whose first play is logged before their registration",
    "of_them_never_logged_in": "those of them of which no user is known",
    "once_in_periods": "by chance alone, one such silence comes in so many periods as long as the "
    "data; from 10 on, the service may have been down",
    "paid_users": "those of the users whose latest play was on the level paid",
    "percentile_90": "nine in ten have this or less",
    "playing_users": "those of them who have played, whenever",
    "plays_before": "plays in the seven days before the last seven, which plays counts",
    "plays_per_day": "plays by the days that the data cover; unknown if less than half a day",
    "plays_per_hour": "plays by the hours that the data cover; unknown if less than half an hour",
    "plays_per_user": "mean, which a few very active users raise",
    "playing_sessions": "sessions with a play after they had submitted",
    "registered_users": "users who registered in that week, as their page views say",
    "requests": "plays and views of other pages",
    "score": "how far those who play it and those who play the user's favourites are the same, 0 "
    "to 1; 0: only popular",
    "seconds": "that the loads took; the logs hold no times in which pages load",
    "sessions": "sessions with a play; by day, one past midnight counts on each of its days",
    "share_paid": "of the users, the paid_users",
    "share_paid_plays": "of the plays, those on the level paid",
    "share_of_top_tenth": "of the group's plays, the share of its most active tenth of users",
    "share_of_users": "of all users who play, or of those of the group",
    "share_stopped": "of the week's users, those who stopped",
    "share_without_top_user": "share_of_plays if the group's most active user weren't there",
    "states": "US states that the area is in",
    "stickiness": "daily_users by monthly_users: 0.2 is a user who comes on one day in five",
    "stopped": "users who didn't come on the 14 days after their last day of the week; unknown of "
    "the latest weeks",
    "submitting_users": "users who went on to see submitting_page",
    "to_free": "first plays of users on the level free after one on paid",
    "to_paid": "first plays of users on the level paid after one on free",
    "usual_requests": "requests that these hours have in other weeks",
    "views_per_100_plays": "views for each 100 plays on the same level",
    "weeks_since_registration": "0 is the seven days from it on, -1 all time before it; unknown "
    "where no page view says when a user registered",
    "weeks_later": "0 is the week of the first play",
    "whole_month": "whether the data cover the 30 days",
    "whole_week": "whether the data cover the seven days of the week",
}
