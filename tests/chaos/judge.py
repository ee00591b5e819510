"""What must hold after every round, from SQL and from what the fleet knows."""

from harness import wait_until

STORED, DUPLICATE, QUARANTINED, REJECTED = 1, 2, 3, 4


class Judge:
    def __init__(self, world):
        self._world, self._fleet = world, world.fleet
        self._seen = 0      # newest frame id that was looked at
        self.stored = set()
        self.fates = {}
        self.quarantined = {}  # frame id -> reason
        self._destroyed = set()  # ids of frames that we damaged
        self.excused = set()     # what they told

    def _look(self):
        """Takes in frames stored since the last look. Frames are stored in
        the journal's order, so none comes in behind our back."""
        rows = self._world.sql(
            "SELECT frame_id, meter_id, counter, fate, frames, reason FROM "
            "frame WHERE frame_id > %s ORDER BY frame_id", (self._seen,))
        for frame, meter, counter, fate, frames, reason in rows:
            self._seen = frame
            self.fates[fate] = self.fates.get(fate, 0) + frames
            if fate == QUARANTINED:
                self.quarantined[frame] = reason
            if fate == STORED and counter is not None:
                identity = self._fleet.devices[meter], counter
                assert identity not in self.stored, f"stored twice: {identity}"
                self.stored.add(identity)
            assert fate != REJECTED, f"rejected: {frame} {reason}"

    def destroyed(self, frame, identity):
        self._destroyed.add(frame)
        if identity:
            self.excused.add(identity)

    def missing(self, acked):
        self._look()
        return acked - self.stored - self.excused

    def acknowledged_is_stored(self, timeout=60):
        acked = self._fleet.ledger.acked()
        last = []

        def all_there():
            last[:] = self.missing(acked)
            return not last

        try:
            wait_until(all_there, timeout)
        except AssertionError:
            raise AssertionError(
                f"{len(last)} acknowledged and not stored: "
                f"{sorted(last)[:20]}") from None
        return len(acked)

    def damage_is_quarantined(self):
        """Every frame that we destroyed lies in quarantine, at its place, and
        nothing else does."""
        missing = self._destroyed - self.quarantined.keys()
        assert not missing, f"damaged and not quarantined: {missing}"
        others = {f: r for f, r in self.quarantined.items()
                  if r != "journal_damaged"}
        assert not others, f"quarantined for no reason of ours: {others}"

    def books_balance(self):
        """Ledger and frames agree, each frame has one capture, none has a
        second revision: in one snapshot each."""
        unequal = self._world.sql(
            "SELECT * FROM (SELECT tenant_id, "
            "sum(frames) FILTER (WHERE fate = 1), "
            "sum(frames) FILTER (WHERE fate = 2), "
            "sum(frames) FILTER (WHERE fate = 3), "
            "sum(frames) FILTER (WHERE fate = 4) FROM frame GROUP BY 1) f "
            "(tenant_id, stored, duplicate, quarantined, rejected) FULL JOIN "
            "(SELECT tenant_id, sum(stored), sum(duplicate), "
            "sum(quarantined), sum(rejected) FROM ledger GROUP BY 1) l "
            "(tenant_id, stored, duplicate, quarantined, rejected) USING "
            "(tenant_id) WHERE coalesce(f.stored, 0) <> coalesce(l.stored, 0) "
            "OR coalesce(f.duplicate, 0) <> coalesce(l.duplicate, 0) OR "
            "coalesce(f.quarantined, 0) <> coalesce(l.quarantined, 0) OR "
            "coalesce(f.rejected, 0) <> coalesce(l.rejected, 0)")
        assert not unequal, f"frames and ledger differ: {unequal}"
        frames, captures, times, revision = self._world.sql(
            "SELECT (SELECT count(*) FROM frame WHERE fate = 1 AND counter IS "
            "NOT NULL), count(*), count(DISTINCT (meter_id, time)), "
            "coalesce(max(revision), 0) FROM capture JOIN profile USING "
            "(tenant_id, profile_id) WHERE obis && ARRAY['6-0:1.0.0', "
            "'7-0:3.0.0']")[0]
        assert frames == captures == times and revision == 0, \
            f"{frames} frames, {captures} captures, {times} times, " \
            f"revision {revision}"

    def pending(self):
        """The metric; never below what is true."""
        pending = self._world.node.metric("headend_frames_pending")
        assert pending >= 0, f"headend_frames_pending {pending}"
        return pending

    def values_are_exact(self):
        """The main register of each stored message is its number."""
        wrong = self._world.sql(
            "SELECT f.meter_id, f.counter, r.value FROM frame f LEFT JOIN "
            "reading r ON r.frame_id = f.frame_id AND r.obis IN "
            "('6-0:1.0.0', '7-0:3.0.0') WHERE f.fate = 1 AND f.counter IS "
            "NOT NULL AND f.counter IS DISTINCT FROM r.value LIMIT 5")
        assert not wrong, f"wrong values: {wrong}"

    def gaps(self):
        """Frame counters of heat meters that are missing between those that
        are there: {identity}."""
        rows = self._world.sql(
            "SELECT meter_id, n FROM (SELECT meter_id, min(counter), "
            "max(counter) FROM frame WHERE source = 1 AND fate = 1 GROUP BY 1) "
            "m (meter_id, first, last), generate_series(first, last) n WHERE "
            "NOT EXISTS (SELECT FROM frame f WHERE f.meter_id = m.meter_id AND "
            "f.counter = n AND f.fate = 1)")
        return {(self._fleet.devices[meter], n) for meter, n in rows}

    def gaps_are_counted(self):
        """What is missing between a meter's counters is what headend says is
        missing, for each meter and in the ledger; returns how many."""
        unequal = self._world.sql(
            "SELECT * FROM (SELECT meter_id, max(counter) - min(counter) + 1 - "
            "count(DISTINCT counter) FROM frame WHERE fate = 1 AND counter IS "
            "NOT NULL GROUP BY 1) f (meter_id, missing) FULL JOIN (SELECT "
            "meter_id, skipped - late FROM frame_counter) c (meter_id, counted)"
            " USING (meter_id) WHERE missing IS DISTINCT FROM counted")
        assert not unequal, f"(meter, missing, counted): {unequal}"
        counted, booked = self._world.sql(
            "SELECT (SELECT coalesce(sum(skipped - late), 0)::int FROM "
            "frame_counter), coalesce(sum(missing - late), 0)::int FROM "
            "ledger")[0]
        assert counted == booked, f"{counted} missing, {booked} in the ledger"
        return counted

    def losses_are_the_brokers(self):
        """What the broker took and headend has not is a gap in the counters,
        or newer than all that came; and no bridge acknowledged it. Returns
        (gaps, newer ones)."""
        ledger, gaps = self._fleet.ledger, self.gaps()
        lost = ledger.sent - self.stored - self.excused
        assert not lost & ledger.acked(), "acknowledged, then lost"
        newest = {}
        for device, n in self.stored:
            newest[device] = max(n, newest.get(device, 0))
        newer = {(d, n) for d, n in lost if n > newest.get(d, 0)}
        unseen = lost - gaps - newer
        assert not unseen, f"lost and no gap: {sorted(unseen)[:20]}"
        return len(gaps), len(newer)
