"""Sessions as docs/schema.md defines them, in plain Python: a twin of questions/sessions.py."""

from collections import defaultdict


def find_sessions(events):
    """Return the sessions, each a list of events; an event has at, user, page and the log's fields.

    No event may be given twice.
    """
    sessions, views = defaultdict(list), defaultdict(list)
    for event in sorted(events, key=in_order):
        if event.user is not None:
            sessions[event.sessionId, event.user].append(event)
        if event.page != "NextSong":
            views[event.sessionId].append(event)
    for number, of_number in views.items():
        for nth, (owner, chain) in enumerate(find_chains(of_number)):
            sessions[(number, nth, None) if owner is None else (number, owner)] += chain
    return list(sessions.values())


def in_order(event):
    place = event.itemInSession
    return event.at, place is None, place or 0, event.page, event.user is None, event.user or 0


LEADING = ("Login", "Register", "Submit Registration")


def find_chains(views):
    """Return the chains of views of nobody known under one number, each with its user or None."""
    chains = []  # each a list [user logged out before, user logged in after, views]
    leading = {view.itemInSession for view in views if view.user is None and view.page in LEADING}
    for view in views:
        if view.user is None or place_before(view) in leading:
            goes_on, before = find_before(view, views, leading)
            if view.user is None:
                if not goes_on or before and before.user is not None:
                    chains.append([before and before.user, None, []])
                chains[-1][2].append(view)
            elif before and before.user is None and comes_by(before, view):
                known = [user for user in (chains[-1][1], view.user) if user is not None]
                chains[-1][1] = min(known)
    return [(left if left is not None else came, chain) for left, came, chain in chains]


def place_before(view):
    return None if view.itemInSession is None else view.itemInSession - 1


def comes_by(before, view):
    """Tell whether a user comes to a view by what is before it: a login or a registration."""
    return before.page in ("Login", "Submit Registration") or view.page == "Submit Registration"


def find_before(view, views, leading):
    """Return whether a view goes on another one, and that one if it is known.

    Of the views at the place before that may lead on, it is the latest, unless another view has
    gone on it; then it goes on another, if there is one that no view without user has gone on.
    """
    place = place_before(view)
    steps = [
        (in_order(one)[:3], True, in_order(one)[3:], one)
        for one in views
        if one.itemInSession == place and (one.user is None or one.page == "Logout")
    ]
    steps += [
        (in_order(one)[:3], False, in_order(one)[3:], one)
        for one in views
        if place_before(one) == place and (one.user is None or place in leading)
    ]
    steps.sort(key=lambda step: step[:3])
    position = next(at for at, step in enumerate(steps) if step[3] is view and not step[1])
    taken = sum(not step[1] and step[3].user is None for step in steps[: position + 1])
    if position and steps[position - 1][1]:
        return True, steps[position - 1][3]
    return sum(step[1] for step in steps[:position]) >= taken, None
