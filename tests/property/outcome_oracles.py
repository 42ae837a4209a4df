"""Every definition of an outcome once more, slowly, in plain Python: loops over days, no library, no shared code.

Each function takes the definition and one person's rows (days are integers, the index day is 0) and returns the days
on which it is met, or pairs of a day and the day by which it is known.
"""

from __future__ import annotations

import datetime as dt
import itertools

EPOCH = dt.date(2020, 1, 31)
"""The index date of every entry: the leap day and the end of a quarter are near."""


def encounter_days(rows, codes, settings=None):
    """Rows are (day, last day, code, setting)."""
    return sorted({a for a, _, code, setting in rows if code in codes and (settings is None or setting in settings)})


def ci_nyc(o, rows, _):
    return {
        later
        for earlier, _, code, _ in rows
        for later, _, other, _ in rows
        if earlier >= 0 and code == other and o.apart_days < later - earlier <= o.within_days and code != "J"
    }


def icd11_episode(o, rows, _):
    """Walk the days: is the day in care, or an encounter, of an episode long enough by then?"""
    own = sorted((a, max(a, b)) for a, b, code, _ in rows if code != "J" and a >= 0)
    episodes = []
    for start, end in own:
        if episodes and start - episodes[-1][1] <= o.gap_days:
            episodes[-1][1] = max(episodes[-1][1], end)
            episodes[-1][2].append((start, end))
        else:
            episodes.append([start, end, [(start, end)]])
    return {
        day
        for first, _, stays in episodes
        for start, end in stays
        for day in range(start, end + 1)
        if day - first + 1 > o.longer_than_days
    }


def medicare_new_onset(o, rows, _):
    return set([day for day in encounter_days(rows, "AB") if day > 0][o.further - 1 :])


def ccw(o, rows, _):
    stays = encounter_days(rows, "AB", ["inpatient"])
    others = encounter_days(rows, "AB", ["outpatient"])
    return set(stays) | {b for a in others for b in others if 1 <= b - a <= o.within_days}


def va_musculoskeletal(o, rows, _):
    return ccw(o, rows, _)


def ohdsi_era(o, rows, _):
    days, starts, until = encounter_days(rows, "AB"), set(), None
    for day in days:
        if until is None or day > until:
            starts.add(day)
        until = day + o.persistence_days
    return {day for day in starts if day > 0}


def supplied_days(fills):
    """Each day uses up one day's supply, if there is any."""
    stock, days, day = 0, [], min((a for a, _ in fills), default=0)
    last = max((a for a, _ in fills), default=0)
    while stock or day <= last:
        stock += sum(supply for a, supply in fills if a == day)
        if stock:
            days.append(day)
            stock -= 1
        day += 1
    return days


def episodes_of(days, gap):
    """Join days with at most ``gap`` days between them that are not among them."""
    found = []
    for day in days:
        if found and day - found[-1][-1] - 1 <= gap:
            found[-1].append(day)
        else:
            found.append([day])
    return found


def current_episode(fills, day, gap):
    """Return what is known on a day of the episode it lies in: its days with supply, and its dispensings."""
    known = [(a, supply) for a, supply in fills if a <= day and supply > 0]
    for episode in episodes_of(supplied_days(known), gap):
        if episode[0] <= day <= episode[-1]:
            return episode, [(a, supply) for a, supply in known if episode[0] <= a <= episode[-1]]
    return None, []


def _fills(rows):
    return [(a, supply or 0) for a, _, supply in rows]


def _walk(fills):
    supplied = supplied_days([(a, s) for a, s in fills if s > 0])
    return range(supplied[0], supplied[-1] + 1) if supplied else range(0)


def consort(o, _, rows):
    met, fills = set(), _fills(rows)
    for day in _walk(fills):
        episode, inside = current_episode(fills, day, o.gap_days)
        enough = sum(s for _, s in inside) >= o.supply_days or len(inside) >= o.fills
        if episode and day - episode[0] + 1 > o.longer_than_days and enough:
            met.add(day)
    return met


def opera(o, _, rows):
    met, fills = set(), _fills(rows)
    for day in _walk(fills):
        episode, inside = current_episode(fills, day, o.gap_days)
        if episode is None:
            continue
        length = day - episode[0] + 1
        covered = len([d for d in episode if d <= day])
        long = length >= o.episode_days and sum(s for _, s in inside) >= o.supply_days
        if long and covered * 100 >= o.covered_percent * length:
            met.add(day)
    return met


def group_health(o, _, rows):
    def quarter(day):
        date = EPOCH + dt.timedelta(days=day)
        return date.year, (date.month - 1) // 3

    fills = [(a, s) for a, s in _fills(rows) if s > 0]
    return {
        day for day, _ in fills if sum(s for a, s in fills if a <= day and quarter(a) == quarter(day)) >= o.supply_days
    }


def opioid_cds(o, _, rows):
    return {a for a, s in _fills(rows) if s >= o.supply_days}


def landsman_blumberg(o, _, rows):
    fills = [(a, s) for a, s in _fills(rows) if s > 0 and 0 <= a <= o.within_days]
    return {day for day, _ in fills if sum(s for a, s in fills if a <= day) >= o.supply_days}


def brummett(o, _, rows):
    return {a for a, _, _ in rows if o.after_days <= a <= o.within_days}


def discontinuation(o, rows, stop):
    fills = [(a, s) for a, s in _fills(rows) if s > 0 and a <= stop]
    ends = [episode[-1] for episode in episodes_of(supplied_days(fills), o.gap_days)]
    return {(end, end + o.gap_days + 1) for end in ends if end >= 0}


def re_initiation(o, rows, _):
    eras = episodes_of(supplied_days([(a, s) for a, s in _fills(rows) if s > 0]), o.gap_days)
    starts = [(new[0], new[0] - old[-1]) for old, new in itertools.pairwise(eras)]
    return {(day, day) for day, since in starts if day > 0 and since <= o.within_days}


def _eras(rows, agent, gap):
    """Return (first day, last day, dispensings) of an agent's eras."""
    fills = [(a, s) for a, who, s in rows if who == agent and s and s > 0]
    return [
        (days[0], days[-1], sorted(a for a, _ in fills if days[0] <= a <= days[-1]))
        for days in episodes_of(supplied_days(fills), gap)
    ]


def switch(o, rows, _):
    met = set()
    for old, new in (("X", "Y"), ("Y", "X")):
        for first, last, fills in _eras(rows, old, o.gap_days):
            for start, _, _ in _eras(rows, new, o.gap_days):
                if start > max(first, 0) and fills[-1] < start <= last + o.within_days:
                    met.add(max(last + o.gap_days + 1, start))
    return {(day, day) for day in met}


def add_on(o, rows, _):
    """Walk the days on which something new is known, with only the dispensings up to each."""
    met = set()
    for old, new in (("X", "Y"), ("Y", "X")):
        for start, _, _ in _eras(rows, new, o.gap_days):
            lasted = start + o.overlap_days - 1
            for day in [lasted, *sorted(row[0] for row in rows if row[0] > lasted)]:
                known = [row for row in rows if row[0] <= day]
                a = [era for era in _eras(known, old, o.gap_days) if era[0] < start <= era[1]]
                b = [era for era in _eras(known, new, o.gap_days) if era[0] == start]
                if not (a and b and start > 0):
                    continue
                together = min(a[0][1], b[0][1]) - start + 1
                if together >= o.overlap_days and any(fill >= start for fill in a[0][2]):
                    met.add(day)
                    break
    return {(day, day) for day in met}


def _dose(fills, first, last):
    """Return the mg of the days from first to last; fills are (day, mg a day, days), and those that overlap add up."""
    return sum(mg for day, mg, supply in fills for d in range(day, day + supply) if first <= d <= last)


def dose_escalation(o, fills):
    width = o.window_days
    base = _dose(fills, 0, width - 1)
    later = {(k + 1) * width - 1: _dose(fills, k * width, (k + 1) * width - 1) for k in range(1, o.windows + 1)}
    return True, {(day, day) for day, dose in later.items() if base and dose * 100 >= base * (100 + o.rise_percent)}


def taper(o, fills):
    width = o.window_days
    before = _dose(fills, -width, -1)
    limit = before * (100 - o.fall_percent)
    fell = all(_dose(fills, k * width, (k + 1) * width - 1) * 100 <= limit for k in (0, 1))
    return before >= o.minimum * width, {(2 * width - 1, 2 * width - 1)} if fell else set()


def _highest(scores):
    return {day: max(v for d, v in scores if d == day) for day, _ in scores}


def registry_pain(o, scores):
    """Return the days seen chronic and the days seen free."""
    seen = {day: value for day, value in _highest(scores).items() if day >= o.after_days}
    return {d for d, v in seen.items() if v >= o.at_least}, {d for d, v in seen.items() if v < o.at_least}


def registry_response(o, scores, censor, death):
    """Return (eligible, pairs of day and known day); scores after follow-up are not seen."""
    seen = _highest(scores)
    before = [day for day in seen if o.baseline.first <= day <= o.baseline.last]
    if not before or seen[max(before)] < o.minimum_baseline:
        return False, set()
    stop = min(censor, censor if death is None else death)
    visits = [d for d in seen if abs(d - o.target_day) <= o.tolerance_days and d <= stop]
    if visits:
        nearest = min(visits, key=lambda d: (abs(d - o.target_day), d))
        fell = (seen[max(before)] - seen[nearest]) * 100 >= o.fall_percent * seen[max(before)]
        return True, {(nearest, nearest)} if fell else set()
    died = death is not None and death <= min(censor, o.target_day + o.tolerance_days)
    if o.missing == "non_response" or died:
        return True, set()
    return True, {(o.target_day - o.tolerance_days - 1, None)}
