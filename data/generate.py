"""Simulate Sparkify: a song catalogue and the daily logs of its listeners' activity.

    .venv/bin/python data/generate.py OUT                                  the sample in data/
    .venv/bin/python data/generate.py OUT --songs 20000 --events 1000000   a larger service

writes OUT/song_data/A/B/C/TRABC....json, one song a file in the format of the Million Song
Dataset, and OUT/log_data/YYYY/MM/YYYY-MM-DD-events.json, one event a line in the format of an
event simulator. Titles, artists and users are invented.

The same arguments give the same bytes on every platform and Python version. Therefore chance
comes from Random.random() alone, the one method whose values Python promises to keep, and is
worked on with + - * / alone: exp, log and powers may differ in their last digit.

Memory does not grow with the number of events or songs: a song is made from its number whenever
it is wanted, and events are written in the order in which they happen.
"""

import argparse
import datetime
import heapq
import json
import math
import os
import shutil
import sys
import time
from array import array
from bisect import bisect
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby
from pathlib import Path
from random import Random
from string import ascii_uppercase
from typing import NamedTuple


def words(text):
    """The words of a list like "one | two"."""
    return tuple(word.strip() for word in text.split("|"))


# The catalogue -----------------------------------------------------------------------------

SONGS_PER_FOLDER = 12
UNKNOWN_LOCATION = 0.4  # share of the artists with location ""
UNKNOWN_COORDINATES = 0.3  # of those with a location, the share without coordinates
UNKNOWN_YEAR = 0.55
TITLE_WITH_ENDING = 0.22
SOLO_ARTIST = 0.35
GUEST_ARTIST = 0.05

WORDS = {
    "title": (
        *("{adjective} {image}",) * 5,
        *("{image} in {place}",) * 3,
        *("{verb} the {image}",) * 3,
        *("{foreign}",) * 2,
        "The {adjective} {image}",
        "{verb} Me to {place}",
        "Don't {verb} the {image}",
        "{given}, the {image} and {place}",
        'The "{adjective}" Song',
        "{adjective} {image} / {place}",
        "(Almost) {adjective}",
        "{place}, {year}",
        "Who Will {verb} {person}?",
        "{number}",
    ),
    "ending": words("""
        (Live) | (Live in {place}) | (Album Version) | (Acoustic) | ({year} Remaster) |
        (feat. {person}) | [Demo] | (Radio Edit)
    """),
    # Texts that a careless reader of the files turns into numbers, dates or missing values.
    "number": words("""
        008 | 0451 | 1904 | 2049 | 41 | 3.50 | 1e5 | 6/8 | 12-11 | 2003-07-19 | 00 | 19:45 |
        -1 | N/A | None | NULL
    """),
    "adjective": words("""
        Silver | Hollow | Restless | Golden | Broken | Velvet | Distant | Paper | Electric |
        Crooked | Faded | Northern | Borrowed | Quiet | Scarlet | Second | Wooden | Midnight |
        Crystal | Lonesome | Burning | Sunday | Foreign | Gentle | Hidden | Rusty | Slow |
        Tangled | Violet | Wandering | Weightless | Winter | Amber | Barefoot | Careless |
        Drifting | Emerald | Frozen | Half-Light | Last
    """),
    "verb": words("""
        Follow | Forget | Leave | Carry | Wake | Mend | Call | Remember | Outrun | Borrow |
        Paint | Hold | Bring | Steal | Answer | Chase | Shelter | Waltz
    """),
    "place": words("""
        Abilene | Lisbon | Duluth | the Harbor | Winnipeg | Tangier | Saint Clair |
        the Ninth Ward | Trieste | Laredo | Cardiff | the Valley | Valparaíso | Oslo |
        Mulberry Street | the Back Room | Missoula | Galway | Room 212 | Malmö
    """),
    "year": words("""
        1968 | 1974 | 1979 | 1983 | 1988 | 1991 | 1996 | 2001 | 2004 | 2009
    """),
    "person": ("{given} {family}",),
    "given": words("""
        Adela | Bram | Celeste | Desmond | Elodie | Farid | Greta | Hollis | Ines | Jarvis |
        Kirsti | Lucho | Maribel | Nestor | Odile | Petra | Quentin | Rosalba | Søren | Tamsin |
        Ulises | Vashti | Wendell | Xiomara | Yusuf | Zélie
    """),
    "family": words("""
        Abernathy | Belmonte | Castaneda | Dunleavy | Eckhart | Fairweather | Gallardo |
        Hathaway | Ibáñez | Jessop | Kowalczyk | Lindqvist | Marchetti | Núñez | O'Dell |
        Pettibone | Quiroga | Rasmussen | Sauvageot | Thibodeaux | Underhill | Vasquez |
        Whitlock | Yarbrough | Zeller | Mortimer | Grunwald | Lefevre | St. John
    """),
    "foreign": words("""
        Corazón de Papel | Mañana Azul | La Señal Perdida | Niño del Río | Otoño en Bogotá |
        Été sans Toi | La Forêt Bleue | Où Va la Pluie | Fenêtre Ouverte | À Demain, Hélène |
        Nächte am Fluß | Über die Brücke | Träume aus Papier | Kühle Straße | Fjällvind |
        Água e Sal | Estação do Sul | Lá na Ilha | Città Sommersa | Perché Domani | Żółty Liść |
        Sjöfågel | Nattåg till Öland | Зимний порт | 冬の灯台
    """),
}

# A genre's images colour its titles, its acts the names of its artists.
GENRES = (
    {
        "image": words("Engine | Skyline | Static | Radio | Thunder | Avenue | Matches | Parade"),
        "act": words(
            "The {adjective} Engines | {adjective} Static | {place} Riot | The {family} Four"
        ),
    },
    {
        "image": words("Heart | Summer | Mirror | Weekend | Lipstick | Secret | Postcard | Kiss"),
        "act": words("{given} | {adjective} Mirrors | {given} & {given} | Club {family}"),
    },
    {
        "image": words("Highway | Porch | River | Whiskey | Freight Train | Barn | Letter | Moon"),
        "act": words("{given} {family} Band | The {family} Ramblers | The {family} Brothers"),
    },
    {
        "image": words("Signal | Pulse | Circuit | Neon | Orbit | Gravity | Voltage | Machine"),
        "act": words("DJ {given} | {adjective} Circuit | {family} + {family} | {adjective} Orbit"),
    },
    {
        "image": words("Corner | Crown | Concrete | Ledger | Rooftop | Hustle | Mic | Block"),
        "act": words("MC {given} | {adjective} Ledger | {place} Syndicate | Big {given}"),
    },
    {
        "image": words("Blues | Smoke | Saxophone | Stairs | Umbrella | Alley | Cocktail | Rain"),
        "act": words("{given} {family} Trio | {family} Quartet | The {adjective} Five"),
    },
    {
        "image": words("Meadow | Lantern | Sparrow | Orchard | Winter Coat | Lullaby | Fern | Sea"),
        "act": words("{adjective} Sparrow | {family} & Daughter | Orchard of {place}"),
    },
    {
        "image": words("Sonata | Nocturne | Prelude | Étude | Garden | Procession | Bell | Elegy"),
        "act": words("{place} Chamber Players | {family} Ensemble | {family}; {family}"),
    },
)
VOCABULARIES = [WORDS | genre for genre in GENRES]

HOMES = (  # of artists: location, latitude, longitude
    ("Chicago, IL", 41.88425, -87.63245),
    ("Detroit, MI", 42.33168, -83.04792),
    ("Austin, TX", 30.26759, -97.74299),
    ("Athens, GA", 33.95813, -83.37325),
    ("Seattle, Washington USA", 47.60356, -122.32944),
    ("Brooklyn, NY", 40.65507, -73.94888),
    ("New Orleans, LA", 29.95369, -90.07771),
    ("Tulsa, OK", 36.15398, -95.99277),
    ("Minneapolis, MN", 44.97903, -93.26493),
    ("Halifax, Nova Scotia", 44.64601, -63.57285),
    ("Montréal, Québec", 45.51228, -73.55439),
    ("Manchester, England", 53.4796, -2.24881),
    ("Glasgow, Scotland", 55.85783, -4.25251),
    ("Dublin, Ireland", 53.34376, -6.24953),
    ("Stockholm, Sweden", 59.33217, 18.06243),
    ("Hamburg, Germany", 53.55334, 9.99245),
    ("Paris, France", 48.85692, 2.34121),
    ("Reykjavík, Iceland", 64.14534, -21.94242),
    ("São Paulo, Brazil", -23.56287, -46.65468),
    ("Cali, Colombia", 3.43722, -76.5225),
    ("Guadalajara, Mexico", 20.67359, -103.34381),
    ("Dakar, Senegal", 14.69057, -17.4505),
    ("Kingston, Jamaica", 17.99702, -76.79358),
    ("Melbourne, Australia", -37.81753, 144.96715),
)

# The listeners -----------------------------------------------------------------------------

NEWCOMERS = 0.3  # share of the users who register during the period
HALF_STAY = 45  # days after which half of the users have left
EVENNESS = 0.035  # the lower, the more active are the most active users
PAID_AT_WEIGHT = 22  # users of this weight or more pay from the start (up to PAID_AT_MOST)
PAID_AT_MOST = 0.85

FIRST_NAMES = {
    "F": words("""
        Abigail | Alma | Bianca | Camille | Carmen | Dana | Delia | Esther | Fatima | Gwen |
        Hannah | Imani | Ingrid | Joy | June | Keiko | Leticia | Lucía | Mara | Naomi | Noor |
        Olive | Paloma | Priya | Renée | Ruth | Selma | Tess | Willa
    """),
    "M": words("""
        Abel | Amir | Boris | Caleb | Cyrus | Damian | Dev | Emmett | Felix | Gideon | Hugo |
        Ivan | Jonah | José | Kwame | Leon | Malik | Milo | Nico | Oscar | Pavel | Ravi |
        Rufus | Silas | Theo | Umar | Victor | Wade | Zoltán
    """),
}
LAST_NAMES = words("""
    Acosta | Barlow | Beck | Bhatt | Bowen | Brandt | Calloway | Chen | Cordero | Dalton |
    Diallo | Ellison | Farrow | Fuentes | Gallagher | Haddad | Hobbs | Ito | Jansen | Kaplan |
    Keita | Lam | Lowell | Mbeki | Mercado | Nakamura | Norris | O'Hara | Okafor | Osborne |
    Park | Peña | Pratt | Quick | Rahman | Sandoval | Shah | Sorensen | Tran | Tully | Valdez |
    Vogel | Whitaker | Yoon | Zamora
""")
METROS = (  # name, hours from UTC in winter, relative number of users
    ("New York-Newark-Jersey City, NY-NJ-PA", -5, 20),
    ("Los Angeles-Long Beach-Anaheim, CA", -8, 13),
    ("Chicago-Naperville-Elgin, IL-IN-WI", -6, 10),
    ("Dallas-Fort Worth-Arlington, TX", -6, 7),
    ("Houston-The Woodlands-Sugar Land, TX", -6, 7),
    ("Washington-Arlington-Alexandria, DC-VA-MD-WV", -5, 6),
    ("Philadelphia-Camden-Wilmington, PA-NJ-DE-MD", -5, 6),
    ("Miami-Fort Lauderdale-West Palm Beach, FL", -5, 6),
    ("Atlanta-Sandy Springs-Roswell, GA", -5, 6),
    ("Boston-Cambridge-Newton, MA-NH", -5, 5),
    ("San Francisco-Oakland-Hayward, CA", -8, 5),
    ("Phoenix-Mesa-Scottsdale, AZ", -7, 5),
    ("Detroit-Warren-Dearborn, MI", -5, 4),
    ("Seattle-Tacoma-Bellevue, WA", -8, 4),
    ("Minneapolis-St. Paul-Bloomington, MN-WI", -6, 4),
    ("San Diego-Carlsbad, CA", -8, 3),
    ("Tampa-St. Petersburg-Clearwater, FL", -5, 3),
    ("Denver-Aurora-Lakewood, CO", -7, 3),
    ("St. Louis, MO-IL", -6, 3),
    ("Portland-Vancouver-Hillsboro, OR-WA", -8, 3),
    ("San Antonio-New Braunfels, TX", -6, 2),
    ("Sacramento--Roseville--Arden-Arcade, CA", -8, 2),
    ("Pittsburgh, PA", -5, 2),
    ("Nashville-Davidson--Murfreesboro--Franklin, TN", -6, 2),
    ("Salt Lake City, UT", -7, 2),
    ("New Orleans-Metairie, LA", -6, 1),
    ("Milwaukee-Waukesha-West Allis, WI", -6, 1),
    ("Birmingham-Hoover, AL", -6, 1),
    ("Urban Honolulu, HI", -10, 1),
    ("Lansing-East Lansing, MI", -5, 1),
)
METRO_SIZES = list(accumulate(size for _, _, size in METROS))
WEBKIT_BROWSERS = (  # system | version of WebKit | browser
    "Windows NT 10.0; Win64; x64 | 537.36 | Chrome/70.0.3538.77 Safari/537.36",
    "Windows NT 10.0; Win64; x64 | 537.36 | Chrome/69.0.3497.100 Safari/537.36",
    "Windows NT 10.0 | 537.36 | Chrome/64.0.3282.140 Safari/537.36 Edge/17.17134",
    "Windows NT 6.1; Win64; x64 | 537.36 | Chrome/70.0.3538.67 Safari/537.36",
    "Windows NT 6.3; WOW64 | 537.36 | Chrome/49.0.2623.112 Safari/537.36",
    "Macintosh; Intel Mac OS X 10_13_6 | 537.36 | Chrome/70.0.3538.77 Safari/537.36",
    "Macintosh; Intel Mac OS X 10_14_0 | 605.1.15 | Version/12.0 Safari/605.1.15",
    "Macintosh; Intel Mac OS X 10_11_6 | 601.7.7 | Version/9.1.2 Safari/601.7.7",
    "X11; Linux x86_64 | 537.36 | Chrome/68.0.3440.106 Safari/537.36",
    "X11; CrOS x86_64 10895.78.0 | 537.36 | Chrome/69.0.3497.120 Safari/537.36",
    "Linux; Android 8.0.0; SM-G950U | 537.36 | Chrome/69.0.3497.100 Mobile Safari/537.36",
    "iPhone; CPU iPhone OS 12_0_1 like Mac OS X | 605.1.15 | Mobile/16A404",
    "iPhone; CPU iPhone OS 11_4_1 like Mac OS X | 605.1.15 | Mobile/15G77",
    "iPad; CPU OS 10_3_3 like Mac OS X | 603.3.8 | Version/10.0 Mobile/14G60 Safari/602.1",
)
USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:63.0) Gecko/20100101 Firefox/63.0",
    "Mozilla/5.0 (Windows NT 6.1; WOW64; rv:52.0) Gecko/20100101 Firefox/52.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.13; rv:62.0) Gecko/20100101 Firefox/62.0",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:63.0) Gecko/20100101 Firefox/63.0",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; WOW64; Trident/6.0)",
) + tuple(  # those of WebKit browsers are written with quotes around them
    f'"Mozilla/5.0 ({system}) AppleWebKit/{webkit} (KHTML, like Gecko) {browser}"'
    for system, webkit, browser in map(words, WEBKIT_BROWSERS)
)

# Their sessions ----------------------------------------------------------------------------

PAGES = {  # method, status
    "NextSong": ("PUT", 200),
    "Home": ("GET", 200),
    "Visitor Home": ("GET", 200),
    "Login": ("PUT", 307),
    "Logout": ("PUT", 307),
    "Upgrade": ("GET", 200),
    "Submit Upgrade": ("PUT", 307),
    "Downgrade": ("GET", 200),
    "Submit Downgrade": ("PUT", 307),
    "Settings": ("GET", 200),
    "Save Settings": ("PUT", 307),
    "Help": ("GET", 200),
    "Visitor Help": ("GET", 200),
    "About": ("GET", 200),
    "Visitor About": ("GET", 200),
    "Error": ("GET", 404),
}
# The pages seen while logged out, by the names that they have in the log.
VISITOR_PAGES = {
    "Login": "Login",
    "Visitor Home": "Home",
    "Visitor Help": "Help",
    "Visitor About": "About",
}
# Which page follows which, and how often relative to the others. Plan is Upgrade for those who
# listen for free and Downgrade for those who pay.
FOLLOWS = {
    "Start": {"NextSong": 510, "Home": 350, "Visitor Home": 60, "Login": 25, "About": 2},
    "NextSong": {"NextSong": 5780, "Home": 150, "Logout": 80, "Plan": 65, "Settings": 35}
    | {"Help": 32, "About": 14, "Error": 8},
    "Home": {"NextSong": 430, "Settings": 19, "Logout": 9, "Plan": 14, "Home": 5, "About": 2},
    "Visitor Home": {"Login": 62, "Visitor Home": 25, "Visitor About": 13, "Visitor Help": 6},
    "Login": {"Home": 1},
    "Logout": {"Visitor Home": 1},
    "Upgrade": {"Submit Upgrade": 15, "Home": 3, "NextSong": 3, "Upgrade": 1},
    "Submit Upgrade": {"Home": 1},
    "Downgrade": {"NextSong": 34, "Home": 10, "Downgrade": 3, "Submit Downgrade": 1},
    "Submit Downgrade": {"Home": 1},
    "Settings": {"NextSong": 30, "Save Settings": 11, "Settings": 4, "Home": 4, "Help": 4},
    "Save Settings": {"Home": 1},
    "Help": {"NextSong": 30, "Home": 3, "Help": 1},
    "Visitor Help": {"Login": 2, "Visitor Help": 2},
    "About": {"NextSong": 5, "Home": 4, "About": 3},
    "Visitor About": {"Login": 4, "Visitor Home": 2},
    "Error": {"NextSong": 2, "Home": 1},
}
FOLLOWING = {page: (list(row), list(accumulate(row.values()))) for page, row in FOLLOWS.items()}
GO_ON = {"free": 0.63, "paid": 0.963}  # chance that another event follows
LEVEL_NEEDED = {
    "Upgrade": "free",
    "Submit Upgrade": "free",
    "Downgrade": "paid",
    "Submit Downgrade": "paid",
}
LEVEL_AFTER = {"Submit Upgrade": "paid", "Submit Downgrade": "free"}
USUAL_SESSION = 8.5  # events; only a first guess, a run corrects it as it goes

CATALOGUE_PLAYS = 0.82  # share of the plays that are of catalogue songs
TASTE = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2)  # how often a user's first, second, third genre
POPULARITY_OFFSET = 2  # plays of the song on rank r, from 0, are as 1 / (r + offset)
FEWEST_WANTED = 160  # songs that are played but not in the catalogue: at least so many

# The order of the fields is the format's: alphabetical.
EVENT_LINE = (
    '{"artist":%s,"auth":"%s","firstName":%s,"gender":%s,"itemInSession":%d,"lastName":%s,'
    '"length":%s,"level":"%s","location":%s,"method":"%s","page":"%s","registration":%s,'
    '"sessionId":%d,"song":%s,"status":%d,"ts":%d,"userAgent":%s,"userId":"%s"}'
)

# Activity by hour of the listener's day and by day of the week (Monday first).
HOURS = (6, 3, 2, 1, 1, 2, 4, 7, 9, 9, 9, 10, 11, 11, 11, 12, 14, 17, 20, 23, 24, 22, 17, 11)
WEEKDAYS = (0.95, 0.95, 1.0, 1.05, 1.3, 1.0, 0.75)
SERVICE_OFFSET = -6  # hours from UTC of the average listener

# The service is down once, for three hours of an afternoon in the middle of the period.
OUTAGE_START, OUTAGE_END = 21, 24  # UTC

HOUR, DAY = 3600, 86400  # seconds
CLOCK_MS = 437  # the simulator's clock ticks once a second, at this millisecond
CACHED = 1 << 14  # songs and artists kept at hand


# Chance and text ---------------------------------------------------------------------------


def pick(rng, items):
    """One of the items, all as likely as each other."""
    return items[int(rng.random() * len(items))]


def pick_weighted(rng, items, cumulative):
    """One of the items, by their cumulative weights."""
    return items[bisect(cumulative, rng.random() * cumulative[-1])]


def bell(rng):
    """A number from 0 to 1, most likely near a half."""
    return (rng.random() + rng.random() + rng.random()) / 3


def identifier(rng, prefix, middle, number, seed):
    """An id of 18 characters in the catalogue's shape; its last seven differ for each number."""
    letters = "".join(pick(rng, ascii_uppercase) for _ in range(7 - len(prefix)))
    return f"{prefix}{letters}{middle}{(number * 0x5D1F3B7 + seed) % 16**7:07X}"


class Phrase(dict):
    """Words for the {places} of a pattern, drawn anew for each."""

    def __init__(self, rng, genre):
        self.rng = rng
        self.words = VOCABULARIES[genre]

    def __missing__(self, key):
        return self.write(key)

    def write(self, key):
        """One of the key's words or patterns, with the patterns in it filled in."""
        return pick(self.rng, self.words[key]).format_map(self)


def to_json(text):
    """The text as the logs write it: ASCII only, with every slash escaped."""
    return json.dumps(text).replace("/", "\\/")


# Songs and artists -------------------------------------------------------------------------


class Library:
    """Every song there is: numbers 0 to songs - 1 are in the catalogue, others are only played.

    A song's genre is its number modulo the number of genres, and its rank within the genre, from
    the most popular one, is its number divided by that. The same holds for artists.
    """

    def __init__(self, seed, songs):
        self.seed = seed
        self.songs = songs
        self.catalogue_ranks = -(-songs // len(GENRES))
        self.wanted_ranks = (FEWEST_WANTED + songs // 2) // len(GENRES)
        ranks = range(max(self.catalogue_ranks, self.wanted_ranks))
        self.popularity = array("d", accumulate(1 / (rank + POPULARITY_OFFSET) for rank in ranks))

    def pick_song(self, rng, genre):
        """The number of a song of this genre (a tiny catalogue may have only others)."""
        if rng.random() < CATALOGUE_PLAYS:
            return (self.pick_rank(rng, self.catalogue_ranks) * len(GENRES) + genre) % self.songs
        rank = self.catalogue_ranks + self.pick_rank(rng, self.wanted_ranks)
        return rank * len(GENRES) + genre

    def pick_rank(self, rng, ranks):
        """One of so many ranks, by their popularity."""
        return bisect(self.popularity, rng.random() * self.popularity[ranks - 1], 0, ranks - 1)


class Artist(NamedTuple):
    """Who plays a song; location is "" and the coordinates are None where unknown."""

    artist_id: str
    name: str
    location: str
    latitude: float | None
    longitude: float | None


class Song(NamedTuple):
    """A song; duration is in seconds with five decimals, year is 0 where unknown."""

    track_id: str
    song_id: str
    title: str
    duration: float
    year: int
    artist: Artist


class Play(NamedTuple):
    """A song's artist, length and title as JSON, and its length in whole seconds."""

    artist: str
    length: str
    title: str
    seconds: int


@lru_cache(maxsize=CACHED)
def make_artist(library, number):
    """The artist of this number."""
    rng = Random(f"{library.seed} artist {number}")
    phrase = Phrase(rng, number % len(GENRES))
    name = phrase.write("person" if rng.random() < SOLO_ARTIST else "act")
    if rng.random() < GUEST_ARTIST:
        name += " feat. " + phrase.write("person")
    location, latitude, longitude = pick(rng, HOMES)
    if rng.random() < UNKNOWN_LOCATION:
        location, latitude, longitude = "", None, None
    elif rng.random() < UNKNOWN_COORDINATES:
        latitude, longitude = None, None
    artist_id = identifier(rng, "AR", "1187", number, library.seed)
    return Artist(artist_id, name[0].upper() + name[1:], location, latitude, longitude)


def make_song(library, number):
    """The song of this number."""
    rng = Random(f"{library.seed} song {number}")
    phrase = Phrase(rng, number % len(GENRES))
    title = phrase.write("title")
    if rng.random() < TITLE_WITH_ENDING:
        title += " " + phrase.write("ending")
    return Song(
        track_id=identifier(rng, track_prefix(rng, library), "128F", number, library.seed),
        song_id=identifier(rng, "SO", "12A8", number, library.seed),
        title=title[0].upper() + title[1:],
        duration=make_duration(rng),
        year=0 if rng.random() < UNKNOWN_YEAR else 1960 + int(51 * max(rng.random(), rng.random())),
        artist=make_artist(library, artist_number(rng, library, number)),
    )


def track_prefix(rng, library):
    """TR and three letters, which name the song's folder: one of enough for all the songs."""
    folders = min(26**3, -(-library.songs // SONGS_PER_FOLDER))
    folder = int(rng.random() * folders)
    return "TR" + "".join(ascii_uppercase[folder // place % 26] for place in (26 * 26, 26, 1))


def make_duration(rng):
    """A duration in seconds: mostly three to five minutes, now and then far from it."""
    seconds = 60 + 340 * bell(rng)
    if rng.random() < 0.06:
        seconds *= 0.25 + 2 * rng.random()
    return round(seconds, 5)


def artist_number(rng, library, number):
    """The number of the song's artist: of the song's genre, and some have many songs."""
    artists_per_genre = 15 + library.songs // 40
    rank = int(artists_per_genre * rng.random() * rng.random())
    return rank * len(GENRES) + number % len(GENRES)


def catalogue_entry(song):
    """The song as its file in the catalogue holds it."""
    return {
        "num_songs": 1,
        "artist_id": song.artist.artist_id,
        "artist_latitude": song.artist.latitude,
        "artist_longitude": song.artist.longitude,
        "artist_location": song.artist.location,
        "artist_name": song.artist.name,
        "song_id": song.song_id,
        "title": song.title,
        "duration": song.duration,
        "year": song.year,
    }


@lru_cache(maxsize=CACHED)
def make_play(library, number):
    """What a play of the song writes to the log, and the whole seconds that it lasts."""
    song = make_song(library, number)
    fields = to_json(song.artist.name), repr(song.duration), to_json(song.title)
    return Play(*fields, seconds=int(song.duration))


# Users -------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class User:
    """A listener; times are in seconds since 1970 unless their name says otherwise."""

    number: int
    gender: str
    first_name: str
    last_name: str
    metro: tuple
    agent: str
    genres: tuple
    weight: float
    level: str
    joined: int
    left: int
    registered_ms: int
    busy_until: int = 0


def make_users(seed, count, start, days):
    """So many users. The first is there from start to end, so that there is always one."""
    rng = Random(f"{seed} users")
    users = [make_user(rng, number, start, days) for number in range(1, count + 1)]
    first = users[0]
    first.joined, first.left = start, start + days * DAY
    first.registered_ms = min(first.registered_ms, (start - DAY) * 1000 + CLOCK_MS)
    return users


def make_user(rng, number, start, days):
    """A user with a name, a home, tastes, habits and a stay with the service."""
    gender = pick(rng, "FFFMM")
    weight = 1 / (EVENNESS + rng.random())
    starts_paid = rng.random() < min(PAID_AT_MOST, weight / PAID_AT_WEIGHT)
    joined, left, registered_ms = make_stay(rng, start, days)
    return User(
        number=number,
        gender=gender,
        first_name=pick(rng, FIRST_NAMES[gender]),
        last_name=pick(rng, LAST_NAMES),
        metro=pick_weighted(rng, METROS, METRO_SIZES),
        agent=pick(rng, USER_AGENTS),
        genres=tuple(int(len(GENRES) * rng.random() * rng.random()) for _ in range(3)),
        weight=weight,
        level="paid" if starts_paid else "free",
        joined=joined,
        left=left,
        registered_ms=registered_ms,
    )


def make_stay(rng, start, days):
    """The days on which a user comes and goes, and the registration shortly before."""
    is_newcomer = rng.random() < NEWCOMERS
    joined = start + (int(days * rng.random()) * DAY if is_newcomer else 0)
    left = joined + DAY + int(HALF_STAY * DAY * (1 / (1 - rng.random()) - 1))
    days_before = 1 if is_newcomer else 14
    registered = joined - 1 - int(days_before * DAY * rng.random())
    return joined, left, registered * 1000 + CLOCK_MS


class Crowd:
    """The users who are with the service on one day."""

    def __init__(self, users, day):
        self.users = [user for user in users if user.joined <= day < user.left]
        self.cumulative = list(accumulate(user.weight for user in self.users))

    def pick_user(self, rng, now):
        """Somebody who likes to listen at this hour of theirs and is not doing so already.

        A small crowd with many sessions may have nobody like that: then an account is shared.
        """
        for _ in range(8):
            user = pick_weighted(rng, self.users, self.cumulative)
            _, utc_offset, _ = user.metro
            likes_the_hour = rng.random() * max(HOURS) < HOURS[(now // HOUR + utc_offset) % 24]
            if likes_the_hour and user.busy_until < now:
                break
        return user


# Sessions ----------------------------------------------------------------------------------


class Visit(NamedTuple):
    """One event of a session: when, which of PAGES and, for NextSong, which song."""

    second: int
    page: str
    song: int | None


class Identity(NamedTuple):
    """What a log line says of the user, as JSON."""

    auth: str
    first_name: str
    gender: str
    last_name: str
    location: str
    registration: str
    agent: str
    user_id: str


class Session(NamedTuple):
    """A user's visits in a row."""

    user: User
    identity: Identity
    visits: list


NO_PLAY = Play("null", "null", "null", 0)
VISITOR = Identity("Logged Out", "null", "null", "null", "null", "null", "null", "")


def make_session(rng, library, user, start, stop):
    """A session from start until the user has had enough, or until stop."""
    visits = list(make_visits(rng, library, user, start, stop))
    user.busy_until = max(user.busy_until, visits[-1].second)
    return Session(user, make_identity(user), visits)


@lru_cache(maxsize=1024)
def make_identity(user):
    """The user in the words of a log line."""
    return Identity(
        auth="Logged In",
        first_name=to_json(user.first_name),
        gender=to_json(user.gender),
        last_name=to_json(user.last_name),
        location=to_json(user.metro[0]),
        registration=f"{user.registered_ms}.0",
        agent=to_json(user.agent),
        user_id=str(user.number),
    )


def make_visits(rng, library, user, start, stop):
    """One visit after the other; the song that plays goes on while its listener looks around."""
    now, level, song_end = start, user.level, 0
    page = next_page(rng, "Start", level)
    while now < stop:
        song = None
        if page == "NextSong":
            song = library.pick_song(rng, user.genres[pick(rng, TASTE)])
            song_end = now + make_play(library, song).seconds
        elif page == "Logout":
            song_end = 0
        yield Visit(now, page, song)
        level = LEVEL_AFTER.get(page, level)
        if not is_redirect(page) and rng.random() > GO_ON[level]:
            break
        page = next_page(rng, page, level)
        now = next_second(rng, page, now, song_end)


def next_page(rng, page, level):
    """The page after this one."""
    page = pick_weighted(rng, *FOLLOWING[page])
    if page == "Plan":
        return "Upgrade" if level == "free" else "Downgrade"
    return page


def next_second(rng, page, now, song_end):
    """When the page is visited: the next song when this one ends, the others after a thought."""
    if is_redirect(page):
        return now + 1
    if page == "NextSong" and song_end:
        return max(now, song_end)
    thought = int(50 * rng.random() / (1.02 - rng.random()))
    return now + min(thought, song_end - now) if song_end > now else now + thought


def is_redirect(page):
    """Whether the page only does something and sends the browser on to another at once."""
    return PAGES[page][1] == 307


# The service -------------------------------------------------------------------------------


def simulate(library, users, start, days, events):
    """Every event of the period in order of time, as (second, log line)."""
    rng = Random(f"{library.seed} sessions")
    sessions = make_sessions(rng, library, users, start, days, events)
    for session_id, item, session in in_order_of_time(sessions):
        yield session.visits[item].second, log_line(library, session_id, item, session)


def make_sessions(rng, library, users, start, days, events):
    """Sessions in order of their start, with so many events altogether."""
    left, made = events, 0
    for begin, stop, share in plan_hours(rng, start, days):
        if begin % DAY == 0:
            crowd = Crowd(users, begin)
        mean_length = (events - left + 50 * USUAL_SESSION) / (made + 50)
        wanted = 2 * rng.random() * share * max(1, left / mean_length) + rng.random()
        batch = []
        while left > 0 and (len(batch) < int(wanted) or share == 1):
            now = begin + int(HOUR * rng.random())
            session = make_session(rng, library, crowd.pick_user(rng, now), now, stop)
            del session.visits[left:]
            left -= len(session.visits)
            batch.append(session)
        made += len(batch)
        yield from sorted(batch, key=lambda session: session.visits[0].second)


def plan_hours(rng, start, days):
    """Each hour's begin, the end of its sessions, and its share of the events not yet handed out.

    The share of the last hour is 1. The hours of the outage are left out.
    """
    weights = weigh_hours(rng, start, days)
    weights_left = list(accumulate(reversed(weights)))[::-1]
    outage = start + (days // 2 * 24 + OUTAGE_START) * HOUR
    for hour, weight in enumerate(weights):
        begin = start + hour * HOUR
        stop = outage if begin < outage else start + days * DAY
        if weight:
            yield begin, stop, weight / weights_left[hour]


def weigh_hours(rng, start, days):
    """How busy each hour of the period is, relative to the others."""
    weights = []
    for hour in range(days * 24):
        local_hour = start // HOUR + hour + SERVICE_OFFSET
        if hour == 0 or local_hour % 24 == 0:
            busyness = 0.6 + 0.8 * rng.random()
        weekday = (local_hour // 24 + 3) % 7  # 1970-01-01 was a Thursday
        weights.append(busyness * WEEKDAYS[weekday] * HOURS[local_hour % 24])
    outage = days // 2 * 24
    weights[outage + OUTAGE_START : outage + OUTAGE_END] = [0] * (OUTAGE_END - OUTAGE_START)
    return weights


def in_order_of_time(sessions):
    """Every visit as (session id, item in session, session); sessions come in order of start."""
    running = []
    for session_id, session in enumerate(sessions, 1):
        start = session.visits[0].second
        yield from visits_before(start, running)
        heapq.heappush(running, (start, session_id, 0, session))
    yield from visits_before(math.inf, running)


def visits_before(second, running):
    """The visits of running sessions until then; running is a heap of each one's next visit."""
    while running and running[0][0] < second:
        _, session_id, item, session = running[0]
        yield session_id, item, session
        if item + 1 < len(session.visits):
            following = session.visits[item + 1].second
            heapq.heapreplace(running, (following, session_id, item + 1, session))
        else:
            heapq.heappop(running)


def log_line(library, session_id, item, session):
    """The visit's line in the log; a submitted change of level counts from the next line on."""
    visit, user = session.visits[item], session.user
    page = allowed_page(visit.page, user.level)
    method, status = PAGES[page]
    who = VISITOR if page in VISITOR_PAGES else session.identity
    play = make_play(library, visit.song) if page == "NextSong" else NO_PLAY
    level, user.level = user.level, LEVEL_AFTER.get(page, user.level)
    return EVENT_LINE % (
        play.artist,
        who.auth,
        who.first_name,
        who.gender,
        item,
        who.last_name,
        play.length,
        level,
        who.location,
        method,
        VISITOR_PAGES.get(page, page),
        who.registration,
        session_id,
        play.title,
        status,
        visit.second * 1000 + CLOCK_MS,
        who.agent,
        who.user_id,
    )


def allowed_page(page, level):
    """The page, or Home if it is for the other level: two on one account may both upgrade."""
    return page if LEVEL_NEEDED.get(page, level) == level else "Home"


# Files -------------------------------------------------------------------------------------


def write_catalogue(folder, library):
    """One file for each song of the catalogue."""
    made = set()
    for number in range(library.songs):
        song = make_song(library, number)
        letters = song.track_id[2:5]
        place = folder.joinpath(*letters)
        if letters not in made:
            made.add(letters)
            place.mkdir(parents=True, exist_ok=True)
        text = json.dumps(catalogue_entry(song))
        (place / f"{song.track_id}.json").write_text(text, encoding="ascii", newline="\n")
        yield


def write_logs(folder, events):
    """One file for each day with events; as in the original data set, no line feed ends it."""
    for day, day_events in groupby(events, key=lambda event: event[0] // DAY):
        date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
        path = folder / f"{date:%Y/%m}" / f"{date}-events.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="ascii", newline="\n") as file:
            line_feed = ""
            for _, line in day_events:
                file.write(line_feed + line)
                line_feed = "\n"
                yield


def show_progress(steps, total, what):
    """Take the steps; tell a terminal how many are done."""
    shown = sys.stderr.isatty()
    for done, _ in enumerate(steps, 1):
        if shown and (done % 1000 == 0 or done == total):
            end = "\n" if done == total else ""
            print(f"\r{done:,} of {total:,} {what}", end=end, file=sys.stderr, flush=True)


def part_of(folder):
    """Where the folder is written until it is whole."""
    return folder.with_name(folder.name + ".part")


def remove_json(folder):
    """Remove the *.json files below the folder, and the folders that this leaves empty."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            if name.endswith(".json"):
                os.unlink(os.path.join(root, name))
        with suppress(OSError):  # it holds something else
            os.rmdir(root)


def publish(folder):
    """Put the finished folder in place of the old one; only *.json files there are replaced."""
    part = part_of(folder)
    remove_json(folder)
    if not folder.exists():
        part.rename(folder)
        return
    for source in part.rglob("*.json"):
        target = folder / source.relative_to(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    remove_json(part)


# The command -------------------------------------------------------------------------------

# Roughly, on one core of 2024; on the disk, a small file takes as much as 4 KB do.
EVENT_BYTES, EVENTS_PER_SECOND = 475, 80_000
SONG_BYTES, SONGS_PER_SECOND = 4500, 3000
WORTH_SAYING = 60  # seconds


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def whole_number(least, most):
    """A converter of arguments to whole numbers in this range."""

    def convert(text):
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least:,} to {most:,}")
        return number

    return convert


def first_day(text):
    """The date at which the period starts, from its ISO form."""
    try:
        date = datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2018-11-01") from None
    if not 1980 <= date.year <= 2200:
        raise argparse.ArgumentTypeError(f"{text} is not in the years 1980 to 2200")
    return date


def make_parser():
    """The command line; the defaults are the sample in data/."""
    parser = OneLineParser(
        description="Simulate Sparkify: write OUT/song_data, a catalogue of invented songs, and "
        "OUT/log_data, the daily logs of invented listeners.",
        epilog="The same arguments give the same bytes everywhere. For example, a year of 5,000 "
        "users: %(prog)s year --start 2018-01-01 --days 365 --users 5000 --songs 20000 "
        "--events 1000000",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    for name, default, least, most, text in (
        ("--songs", 100, 1, 10**8, "songs in the catalogue"),
        ("--events", 8000, 0, 10**12, "events in the logs, altogether"),
        ("--days", 30, 1, 36525, "days of logs"),
        ("--users", 100, 1, 10**8, "registered users; some of them may stay away"),
        ("--seed", 2457, 0, 2**63, "another seed gives another service"),
    ):
        kind, text = whole_number(least, most), f"{text} (default: %(default)s)"
        parser.add_argument(name, type=kind, default=default, metavar="N", help=text)
    text = "the first day (default: %(default)s)"
    start = datetime.date(2018, 11, 1)
    parser.add_argument("--start", type=first_day, default=start, metavar="DATE", help=text)
    text = "replace the *.json files below OUT/song_data and OUT/log_data"
    parser.add_argument("--force", action="store_true", help=text)
    return parser


def parse_arguments(argv):
    """The arguments, checked: without --force there must be nothing to overwrite."""
    parser = make_parser()
    args = parser.parse_args(argv)
    for folder in args.out / "song_data", args.out / "log_data":
        if not args.force and any(path.is_file() for path in folder.rglob("*")):
            parser.error(f"{folder} already holds files: choose another folder or add --force")
    there = next(path for path in (args.out, *args.out.absolute().parents) if path.exists())
    needed, free = bytes_needed(args), shutil.disk_usage(there).free
    if needed > free:
        parser.error(
            f"that takes about {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free in "
            f"{there}: choose fewer --events or --songs, or another folder"
        )
    return args


def bytes_needed(args):
    """What the files take on the disk, roughly."""
    return args.events * EVENT_BYTES + args.songs * SONG_BYTES


def say_cost(args):
    """Tell beforehand what many events or songs take."""
    seconds = args.events / EVENTS_PER_SECOND + args.songs / SONGS_PER_SECOND
    if seconds > WORTH_SAYING:
        took = f"{seconds / 3600:,.1f} hours" if seconds > 3600 else f"{seconds / 60:.0f} minutes"
        size = f"{bytes_needed(args) / 1e9:,.1f} GB"
        print(f"generate.py: this takes about {size} and {took}", file=sys.stderr)


def main(argv=None):
    """Write the catalogue and the logs that the command line asks for."""
    args = parse_arguments(argv)
    say_cost(args)
    began = time.perf_counter()
    start = (args.start - datetime.date(1970, 1, 1)).days * DAY
    songs, logs = args.out / "song_data", args.out / "log_data"
    for folder in songs, logs:
        remove_json(part_of(folder))  # of a run that was interrupted
        part_of(folder).mkdir(parents=True, exist_ok=True)
    library = Library(args.seed, args.songs)
    show_progress(write_catalogue(part_of(songs), library), args.songs, "songs")
    users = make_users(args.seed, args.users, start, args.days)
    events = simulate(library, users, start, args.days, args.events)
    show_progress(write_logs(part_of(logs), events), args.events, "events")
    publish(songs)
    publish(logs)
    seconds = time.perf_counter() - began
    print(f"Wrote {args.songs:,} songs and {args.events:,} events to {args.out} in {seconds:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:  # no space, no permission, OUT is a file ...
        sys.exit(f"generate.py: can't write {error.filename or 'the files'}: {error.strerror}")
    except KeyboardInterrupt:
        print("generate.py: interrupted; run it again to write the files anew", file=sys.stderr)
        sys.exit(130)
