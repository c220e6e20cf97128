"""The analysts' questions, each with the query that answers it.

Days and weeks are those of UTC, weeks begin on Monday; activity by hour and weekday is in the time
zone that is asked for. Minutes are those of the songs
played, whether or not the user heard them to their end. A song is known by title and artist.
A week is whole if the data, from the day of their first event to that of their last, cover it.
"""

from sparkify.questions import activity, music, pages, platform, users

# Of parameters that need not be given.
DEFAULTS = {"time_zone": "UTC"}

# By the question that each answers. Recommendations take the parameters user_id and limit, activity
# by hour and weekday takes time_zone.
analytics_queries = {
    "key figures": activity.key_figures,
    "most played songs": music.most_played_songs,
    "most played artists": music.most_played_artists,
    "songs of the catalogue that nobody plays": music.unplayed_songs,
    "most wanted songs that the catalogue lacks": music.most_wanted_songs,
    "activity by hour": activity.activity_by_hour,
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
    "songs to recommend to a user": music.recommendations,
    "plays and users by browser and operating system": platform.plays_by_browser_and_system,
    "requests and errors by day": platform.requests_by_day,
    "requests and errors by page": platform.requests_by_page,
    "hours in which the service may have been down": platform.silent_hours,
    "how long the loads take": platform.load_times,
}
