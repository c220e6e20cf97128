"""A simulated service: its songs, its users and what they do, made of service.toml by chance.

The same options give the same events on every platform and Python version. Therefore chance
comes from Random.random() alone, the one method whose values Python promises to keep, and is
worked on with + - * / alone: exp, log and powers may differ in their last digit.

Memory does not grow with the number of events or songs: a song is made from its number whenever
it is wanted, and events come in the order in which they happen.
"""

import datetime
import json
import math
import re
import tomllib
from array import array
from bisect import bisect
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from itertools import accumulate, count
from pathlib import Path
from random import Random
from string import ascii_uppercase
from types import SimpleNamespace
from typing import NamedTuple

PARTS = tomllib.loads(Path(__file__).with_name("service.toml").read_text(encoding="utf-8"))
CHANCE, HABIT = SimpleNamespace(**PARTS["chances"]), SimpleNamespace(**PARTS["habits"])
GENRES = [PARTS["words"] | genre for genre in PARTS["genres"]]
METRO_SIZES = list(accumulate(size for *_, size in PARTS["users"]["metros"]))
PAGES = PARTS["pages"]
FOLLOWING = {
    page: (list(row), list(accumulate(row.values()))) for page, row in PARTS["follows"].items()
}
GO_ON = {"free": CHANCE.go_on_free, "paid": CHANCE.go_on_paid}
LEVEL_NEEDED = {"Upgrade": "free", "Downgrade": "paid"}
LEVEL_AFTER = {"Submit Upgrade": "paid", "Submit Downgrade": "free"}
# What the log says of users and plays is kept as JSON. The format has the fields in this order.
PERSONAL = ("firstName", "gender", "lastName", "location", "registration", "userAgent")
NOBODY = dict.fromkeys(PERSONAL, "null") | {"userId": ""}
NO_PLAY = {"artist": "null", "length": "null", "song": "null"}
LINE = (
    '{"artist":%(artist)s,"auth":"%(auth)s","firstName":%(firstName)s,"gender":%(gender)s,'
    '"itemInSession":%(itemInSession)d,"lastName":%(lastName)s,"length":%(length)s,'
    '"level":"%(level)s","location":%(location)s,"method":"%(method)s","page":"%(page)s",'
    '"registration":%(registration)s,"sessionId":%(sessionId)d,"song":%(song)s,'
    '"status":%(status)d,"ts":%(ts)d,"userAgent":%(userAgent)s,"userId":"%(userId)s"}'
)

HOUR, DAY = 3600, 86400  # seconds
EPOCH = datetime.date(1970, 1, 1)
CLOCK_MS = 437  # the simulator's clock ticks once a second, at this millisecond
SONGS_PER_FOLDER = 12
CACHED = 1 << 14  # songs and artists kept at hand


def pick(rng, items):
    """Return one of the items, all as likely as each other."""
    return items[int(rng.random() * len(items))]


def pick_weighted(rng, items, cumulative):
    """Return one of the items, by their cumulative weights."""
    return items[bisect(cumulative, rng.random() * cumulative[-1])]


def pick_words(rng, words, kind):
    """Return one of the words of a kind; {others} in them are drawn in their turn."""
    return re.sub(
        r"{(\w+)}", lambda other: pick_words(rng, words, other[1]), pick(rng, words[kind])
    )


def quote(text):
    """Return the text as the logs write it: ASCII only, with every slash escaped."""
    return json.dumps(text).replace("/", "\\/")


@dataclass(slots=True, eq=False)
class User:
    """A listener; facts are what the logs say, times are in seconds since 1970."""

    number: int
    facts: dict
    utc_offset: int
    genres: tuple
    weight: float
    level: str
    joined: int
    left: int
    cancels_at: float = math.inf
    busy_until: int = 0


class Visit(NamedTuple):
    """One event of a session: when, which of PAGES and, for NextSong, which song."""

    second: int
    page: str
    song: int | None


@dataclass(eq=False)
class Service:
    """The service for some days from its start on.

    With growth, the users at the end are so many times those at the start; with cancel, about so
    many per cent of them cancel. With either, none leaves otherwise, and each is equally active
    all the time. The outage is a second since 1970 and how many seconds it lasts. An odd service
    does what real ones do: README.md has the list.

    Songs 0 to songs - 1 are in the catalogue, others are only played. A song's genre is its number
    modulo the number of genres, and its rank within the genre, from the most popular one, is its
    number divided by that. The same holds for artists.
    """

    songs: int = 100
    events: int = 8000
    days: int = 30
    users: int = 100
    seed: int = 2457
    start: datetime.date = datetime.date(2018, 11, 1)
    growth: int | None = None
    cancel: int | None = None
    outage: tuple | None = None
    odd: bool = False

    def __post_init__(self):
        self.begin = (self.start - EPOCH).days * DAY
        self.end = self.begin + self.days * DAY
        if self.outage is None:  # in an afternoon in the middle
            self.outage = self.begin + (self.days // 2 * 24 + 21) * HOUR, 3 * HOUR
        if self.cancel is not None and self.growth is None:
            self.growth = 1
        self.ranks = -(-self.songs // len(GENRES))
        self.wanted_ranks = (HABIT.fewest_wanted + self.songs // 2) // len(GENRES)
        ranks = range(max(self.ranks, self.wanted_ranks))
        popularity = (1 / (rank + HABIT.popularity_offset) for rank in ranks)
        self.popularity = array("d", accumulate(popularity))
        self.make_artist = lru_cache(CACHED)(self.make_artist)
        self.make_play = lru_cache(CACHED)(self.make_play)

    # Songs and artists

    def make_id(self, rng, prefix, middle, number):
        """Return 18 characters in the shape of the catalogue; the last seven differ by number."""
        letters = "".join(pick(rng, ascii_uppercase) for _ in range(7 - len(prefix)))
        return f"{prefix}{letters}{middle}{(number * 0x5D1F3B7 + self.seed) % 16**7:07X}"

    def make_artist(self, number):
        """Return the artist of this number as the files of the songs hold it."""
        rng = Random(f"{self.seed} artist {number}")
        words = GENRES[number % len(GENRES)]
        name = pick_words(rng, words, "person" if rng.random() < CHANCE.solo_artist else "act")
        if rng.random() < CHANCE.guest_artist:
            name += " feat. " + pick_words(rng, words, "person")
        location, latitude, longitude = pick(rng, PARTS["artists"]["homes"])
        if rng.random() < CHANCE.unknown_location:
            location, latitude, longitude = "", None, None
        elif rng.random() < CHANCE.unknown_coordinates:
            latitude, longitude = None, None
        if self.odd and number // len(GENRES) % 20 == 3:
            name = location = pick(rng, PARTS["words"]["digits"])
        return {
            "artist_id": self.make_id(rng, "AR", "1187", number),
            "artist_latitude": latitude,
            "artist_longitude": longitude,
            "artist_location": location,
            "artist_name": name[0].upper() + name[1:],
        }

    def make_song(self, number):
        """Return the track id of this number's song, and the song as its file holds it."""
        rng = Random(f"{self.seed} song {number}")
        words = GENRES[number % len(GENRES)]
        title = pick_words(rng, words, "title")
        if rng.random() < CHANCE.title_with_ending:
            title += " " + pick_words(rng, words, "ending")
        folder = int(rng.random() * min(26**3, -(-self.songs // SONGS_PER_FOLDER)))
        letters = "".join(ascii_uppercase[folder // place % 26] for place in (26 * 26, 26, 1))
        track_id = self.make_id(rng, "TR" + letters, "128F", number)
        song_id = self.make_id(rng, "SO", "12A8", number)
        duration = 60 + 340 * ((rng.random() + rng.random() + rng.random()) / 3)
        if rng.random() < CHANCE.unusual_duration:
            duration *= 0.25 + 2 * rng.random()
        known = rng.random() >= CHANCE.unknown_year
        year = 1960 + int(51 * max(rng.random(), rng.random())) if known else 0
        rank = int((15 + self.songs // 40) * rng.random() * rng.random())  # some have many songs
        song = {"num_songs": 1, **self.make_artist(rank * len(GENRES) + number % len(GENRES))}
        if self.odd and number // len(GENRES) % 20 == 2:
            title = pick(rng, words["digits"])
        if self.odd and rank % 6 == 1 and number // len(GENRES) % 2:
            song["artist_name"] += " feat. " + pick_words(rng, words, "person")
        song |= {"song_id": song_id, "title": title[0].upper() + title[1:]}
        return track_id, song | {"duration": round(duration, 5), "year": year}

    def make_play(self, number):
        """Return what a play of the song writes to the log, and the whole seconds it lasts."""
        _, song = self.make_song(number)
        artist, length, title = quote(song["artist_name"]), song["duration"], quote(song["title"])
        return {"artist": artist, "length": length, "song": title, "seconds": int(length)}

    def pick_song(self, rng, genre):
        """Return the number of a song of this genre (a tiny catalogue may have only others)."""
        is_known = rng.random() < CHANCE.catalogue_play
        ranks = self.ranks if is_known else self.wanted_ranks
        rank = bisect(self.popularity, rng.random() * self.popularity[ranks - 1], 0, ranks - 1)
        if is_known:
            return (rank * len(GENRES) + genre) % self.songs
        return (self.ranks + rank) * len(GENRES) + genre

    # Users

    def make_user(self, rng, number):
        """Return a user with a name, a home, tastes, habits and a stay with the service."""
        names = PARTS["users"]
        gender = pick(rng, "FFFMM")
        weight = 1 / (HABIT.evenness + rng.random())
        pays = rng.random() < min(HABIT.paid_at_most, weight / HABIT.paid_at_weight)
        joined, left, registered = self.make_stay(rng)
        if number == 1:  # is there from start to end, so that there is always one
            joined, left, registered = self.begin, self.end, min(registered, self.begin - DAY)
        first_name = pick(rng, names["first_names"][gender])
        last_name = pick(rng, names["last_names"])
        metro, utc_offset, _ = pick_weighted(rng, names["metros"], METRO_SIZES)
        facts = {
            "firstName": quote(first_name),
            "gender": quote(gender),
            "lastName": quote(last_name),
            "location": quote(metro),
            "registration": f"{registered * 1000 + CLOCK_MS}.0",
            "userAgent": quote(pick(rng, names["agents"])),
            "userId": number,
        }
        genres = tuple(int(len(GENRES) * rng.random() * rng.random()) for _ in range(3))
        level, cancels_at = "paid" if pays else "free", math.inf
        if left < self.end and (self.growth or self.odd and rng.random() < CHANCE.cancel):
            cancels_at = left + int(DAY * rng.random())
        return User(number, facts, utc_offset, genres, weight, level, joined, left, cancels_at)

    def make_stay(self, rng):
        """Return when a user comes and goes, and registered shortly before."""
        is_newcomer = rng.random() < (1 - 1 / self.growth if self.growth else CHANCE.newcomer)
        joined = self.begin + (int(self.days * rng.random()) * DAY if is_newcomer else 0)
        left = joined + DAY * (2 + int(HABIT.half_stay * (1 / (1 - rng.random()) - 1)))
        days_before = 1 if is_newcomer else 14
        registered = joined - 1 - int(days_before * DAY * rng.random())
        if self.growth:
            left = self.end
        if self.cancel and 100 * rng.random() < self.cancel:
            left = joined + DAY * (1 + int((self.end - joined) // DAY * rng.random()))
        return joined, left, registered

    # What they do

    def simulate(self):
        """Yield every event in order of time, as (second, song's number or None, log line)."""
        # An odd service joins two runs of a simulator, each of which numbers its sessions from 1.
        numbers = [count(1) for _ in range(1 + self.odd)]
        waiting = []  # a heap of visits to come
        for order, (user, visits, first_item) in enumerate(self.make_sessions()):
            number = next(numbers[user.number % len(numbers)])
            while waiting and waiting[0][0] < visits[0].second:
                yield self.log_visit(*heappop(waiting)[2:])
            for item, visit in enumerate(visits, first_item):
                heappush(waiting, (visit.second, order, item, number, user, visit))
        while waiting:
            yield self.log_visit(*heappop(waiting)[2:])

    def make_sessions(self):
        """Yield sessions, (user, visits, number of the first item), in order of their start."""
        user_rng, rng = Random(f"{self.seed} users"), Random(f"{self.seed} sessions")
        users = [self.make_user(user_rng, number) for number in range(1, self.users + 1)]
        leaving = [user for user in users if user.cancels_at < self.end]
        left, made, day = self.events - self.odd, 0, None
        for begin, stop, share in self.plan_hours(rng, users):
            if begin // DAY != day:
                day = begin // DAY
                crowd, weights = find_crowd(users, day * DAY)
            goodbyes = [user for user in leaving if max(user.cancels_at, user.busy_until) < begin]
            leaving = [user for user in leaving if user not in goodbyes]
            mean_length = (self.events - left + 50 * 8.5) / (made + 50)  # 8.5 is a first guess
            wanted = 2 * rng.random() * share * max(1, left / mean_length) + rng.random()
            batch = []
            while left > 0 and (goodbyes or len(batch) < int(wanted) or share == 1):
                now = begin + int(HOUR * rng.random())
                if goodbyes:
                    user, page, first_item = goodbyes.pop(), "Goodbye", 0
                else:
                    user, page, first_item = self.pick_visitor(rng, crowd, weights, now)
                visits = list(self.make_visits(rng, user, page, now, stop))[:left]
                user.busy_until = max(user.busy_until, visits[-1].second)
                batch.append((user, visits, first_item))
                left -= len(visits)
            made += len(batch)
            yield from sorted(batch, key=lambda session: session[1][0].second)
        if self.odd and self.events:  # one event after the period, in a file of its own
            yield users[0], [Visit(self.end, "NextSong", 0)], 0

    def pick_visitor(self, rng, crowd, weights, now):
        """Return who begins a session, the page it follows, and the number of its first item."""
        if self.odd and rng.random() < CHANCE.guest:
            return User(int(2 * rng.random()), NOBODY, 0, (), 0, "free", 0, 0), "Guest", 0
        user = pick_listener(rng, crowd, weights, now)
        if self.odd and user.joined > self.begin and not user.busy_until:
            registered = now + int(600 * rng.random()) - 300  # before the first event or after it
            user.facts["registration"] = f"{registered * 1000 + CLOCK_MS}.0"
            return user, "Newcomer", 0
        began_before = self.odd and now < self.begin + 21 * HOUR
        return user, "Hello", int(20 * rng.random()) if began_before else 0

    def plan_hours(self, rng, users):
        """Yield each hour's begin, the end of its sessions, and its share of the events left.

        The share of the last hour is 1. The hours of the outage are left out.
        """
        hours, weights = range(self.begin, self.end, HOUR), []
        down, seconds = self.outage
        for begin in hours:
            if begin % DAY == 0:
                activity = find_crowd(users, begin)[1][-1] if self.growth else 1
            local_hour = begin // HOUR + HABIT.utc_offset
            if begin == self.begin or local_hour % 24 == 0:
                busyness = 0.6 + 0.8 * rng.random()
            weekday = (local_hour // 24 + 3) % 7  # 1970-01-01 was a Thursday
            weight = busyness * HABIT.weekdays[weekday] * HABIT.hours[local_hour % 24]
            is_down = down <= begin < down + seconds
            is_down |= self.odd and begin < self.begin + 20 * HOUR  # the logs begin in an evening
            weights.append(0 if is_down else weight * activity)
        weights_left = reversed(list(accumulate(reversed(weights))))
        for begin, weight, weight_left in zip(hours, weights, weights_left, strict=True):
            if weight:
                yield begin, down if begin < down else self.end, weight / weight_left

    def make_visits(self, rng, user, page, now, stop):
        """Yield what follows a page; the song goes on while its listener looks around."""
        level, song_end = user.level, 0
        page = pick_page(rng, page, level)
        while now < stop:
            song = None
            if page == "NextSong":
                song = self.pick_song(rng, user.genres[pick(rng, HABIT.taste)])
                song_end = now + self.make_play(song)["seconds"]
            elif page == "Logout":
                song_end = 0
            yield Visit(now, page, song)
            level = LEVEL_AFTER.get(page, level)
            is_redirect = PAGES[page][1] == 307  # it sends the browser on to another page
            if page not in FOLLOWING or not is_redirect and rng.random() > GO_ON[level]:
                break
            page = pick_page(rng, page, level)
            now = pick_second(rng, page, now, song_end)

    def log_visit(self, item, number, user, visit):
        """Return a visit's second, song and log line; a new level counts from the next one on.

        Two on one account may both upgrade: the second is sent home. A simulator's version
        decides whether Submit Registration names the user; an odd service joins two of them.
        """
        second, page, song = visit
        level = user.level
        if LEVEL_NEEDED.get(page.removeprefix("Submit "), level) != level:
            page = "Home"
        method, status, auth = PAGES[page]
        user.level = LEVEL_AFTER.get(page, level)
        is_named = page == "Submit Registration" and user.number % 2
        line = LINE % {
            **(user.facts if is_named or auth in ("Logged In", "Cancelled") else NOBODY),
            **(NO_PLAY if song is None else self.make_play(song)),
            "auth": auth,
            "itemInSession": item,
            "level": level,
            "method": method,
            "page": page.removeprefix("Visitor ").removeprefix("Guest "),
            "sessionId": number,
            "status": status,
            "ts": second * 1000 + CLOCK_MS,
        }
        return second, song, line


def find_crowd(users, day):
    """Return the users who are with the service on this day, and their weights, cumulated."""
    crowd = [user for user in users if user.joined <= day < user.left]
    return crowd, list(accumulate(user.weight for user in crowd))


def pick_listener(rng, crowd, weights, now):
    """Return somebody who likes to listen at this hour of theirs and isn't doing so already.

    A small crowd with many sessions may have nobody like that: then an account is shared.
    """
    for _ in range(8):
        user = pick_weighted(rng, crowd, weights)
        busy = HABIT.hours[(now // HOUR + user.utc_offset) % 24]
        if rng.random() * max(HABIT.hours) < busy and user.busy_until < now:
            break
    return user


def pick_page(rng, page, level):
    page = pick_weighted(rng, *FOLLOWING[page])
    plan = "Upgrade" if level == "free" else "Downgrade"
    return plan if page == "Plan" else page


def pick_second(rng, page, now, song_end):
    """Return when the page is visited: a song when the last one ends, others after a thought."""
    if PAGES[page][1] == 307:
        return now + 1
    if page == "NextSong" and song_end:
        return max(now, song_end)
    thought = int(50 * rng.random() / (1.02 - rng.random()))
    return now + min(thought, song_end - now) if song_end > now else now + thought
