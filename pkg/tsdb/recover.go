package tsdb

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"xunjian/pkg/metric"
)

// recover brings back what was known: data.db first, then what only the journal holds. The two files need no
// order between them: a row that is in both is told by its number.
func (db *DB) recover() error {
	if err := db.loadSpan(); err != nil {
		return fmt.Errorf("%s: %w", dataFile, err)
	}
	uses, err := db.loadData()
	if err != nil {
		return fmt.Errorf("%s: %w", dataFile, err)
	}
	next, err := db.replay()
	if err != nil {
		return fmt.Errorf("%s: %w", journalFile, err)
	}
	for _, step := range []func() error{
		func() error { return db.forgetOld(uses) }, func() error { return db.enterUses(uses) }, db.forgetSchemas,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("%s: %w", dataFile, err)
		}
	}
	db.rawSince.Store(max(db.rawSince.Load(), dayEnd(db.tooOld(db.o.Retain))))
	db.dirty.upTo = next - 1
	db.journal, err = newJournalWriter(next)
	return err
}

// loadSpan keeps the longest span that blocks were ever made with, for readers look for blocks by their start.
func (db *DB) loadSpan() error {
	db.readSpan = db.rules.span
	stored := int64(0)
	err := view(db.ddb, func(tx *bolt.Tx) error {
		if v := tx.Bucket(bucketMeta).Get(metaSpan); len(v) == 8 {
			stored = int64(binary.BigEndian.Uint64(v))
		}
		return nil
	})
	if err != nil || stored >= db.readSpan {
		db.readSpan = max(stored, db.readSpan)
		return err
	}
	return db.ddb.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(metaSpan, key64(uint64(db.readSpan)))
	})
}

// loadData reads schemas, streams, what was seen, and where the blocks are.
func (db *DB) loadData() (uses map[*stream][]schemaUse, err error) {
	c := db.catalog
	db.dirty = newDirtySet(0)
	uses = map[*stream][]schemaUse{}
	err = view(db.ddb, func(tx *bolt.Tx) error {
		if err := eachRecord(tx, bucketSchemas, func(k []byte, series []metric.Series) error {
			return db.loadSchema(k, series)
		}); err != nil {
			return err
		}
		if err := eachRecord(tx, bucketStreams, func(k []byte, r streamRecord) error {
			s, err := db.loadStream(k, r.streamDef)
			if err == nil {
				s.upTo, uses[s] = r.UpTo, r.Schemas
			}
			return err
		}); err != nil {
			return err
		}
		if err := eachRecord(tx, bucketSeen, func(k []byte, v seen) error {
			c.addAgent(string(k)).seen = v
			return nil
		}); err != nil {
			return err
		}
		db.loadRawSince(tx)
		return db.loadHot(tx)
	})
	return uses, err
}

func (db *DB) loadSchema(key []byte, series []metric.Series) error {
	if len(key) != 4 {
		return fmt.Errorf("schema key %x: %w", key, ErrCorrupt)
	}
	id := binary.BigEndian.Uint32(key)
	if db.catalog.schemaID[id] == nil {
		db.catalog.addSchema(id, series)
	}
	db.schemaWritten[id] = true
	return nil
}

func (db *DB) loadStream(key []byte, d streamDef) (*stream, error) {
	if len(key) != 4 {
		return nil, fmt.Errorf("stream key %x: %w", key, ErrCorrupt)
	}
	id := binary.BigEndian.Uint32(key)
	s := db.catalog.byID[id]
	if s == nil {
		s = db.catalog.addStream(id, d)
	}
	s.journaled = true
	return s, nil
}

// loadHot lists the blocks without reading them.
func (db *DB) loadHot(tx *bolt.Tx) error {
	b := tx.Bucket(bucketHot)
	if b == nil {
		return fmt.Errorf("no bucket %s: %w", bucketHot, ErrCorrupt)
	}
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) != 16 {
			return fmt.Errorf("block key %x: %w", k, ErrCorrupt)
		}
		s := db.catalog.byID[binary.BigEndian.Uint32(k[4:])]
		if s == nil {
			return fmt.Errorf("block %x of an unknown stream: %w", k, ErrCorrupt)
		}
		start := binary.BigEndian.Uint32(k)
		s.hot = append(s.hot, hotRef{start, binary.BigEndian.Uint64(k[8:]), int64(start)*1000 + db.readSpan})
	}
	for _, s := range db.catalog.byID {
		slices.SortFunc(s.hot, func(a, b hotRef) int { return cmp.Compare(a.number, b.number) })
	}
	return nil
}

// replay gives the journal's records back to the head and returns the number that comes next.
func (db *DB) replay() (next uint64, err error) {
	var reader *journalReader
	now := time.Now()
	err = view(db.jdb, func(tx *bolt.Tx) error {
		reader, err = readJournal(tx, func(number, keep uint64, r record) error {
			return db.again(number, keep, r, now)
		})
		if v := tx.Bucket(bucketMeta).Get(metaNext); len(v) == 8 {
			next = binary.BigEndian.Uint64(v)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if reader.dropped > 0 {
		db.o.Logger.Warn("journal ends in a torn group, which was never acknowledged", "groups", reader.dropped)
	}
	// data.db may know higher numbers, when the journal is a newer file than the one they came from
	next = max(next, reader.last+1)
	for _, s := range db.catalog.byID {
		next = max(next, slices.Max(s.upTo[:])+1)
	}
	return next, nil
}

// again takes in one record of the journal.
func (db *DB) again(number, keep uint64, r record, now time.Time) error {
	c := db.catalog
	switch r.kind {
	case kindSchema:
		var series []metric.Series
		if err := json.Unmarshal(r.body, &series); err != nil {
			return fmt.Errorf("schema %d: %w: %w", r.schema, errJournal, err)
		}
		if err := db.loadSchema(key32(r.schema), series); err != nil {
			return err
		}
		db.dirty.schemas[c.schemaID[r.schema]] = true
	case kindStream:
		var d streamDef
		if err := json.Unmarshal(r.body, &d); err != nil {
			return fmt.Errorf("stream %d: %w: %w", r.stream, errJournal, err)
		}
		s, err := db.loadStream(key32(r.stream), d)
		if err != nil {
			return err
		}
		db.dirty.streams[s] = true
	case kindSeen:
		a := c.addAgent(r.agent)
		a.seen.add(r.boot, r.seq)
		db.dirty.agents[a] = true
	case kindRow:
		return db.rowAgain(number, keep, r, now)
	}
	return nil
}

func (db *DB) rowAgain(number, keep uint64, r record, now time.Time) error {
	s, sc := db.catalog.byID[r.stream], db.catalog.schemaID[r.schema]
	if s == nil || sc == nil || len(r.values) != len(sc.series) {
		return fmt.Errorf("number %d: stream %d or schema %d is not known: %w; %s is older than %s, restore both from one backup",
			number, r.stream, r.schema, errJournal, dataFile, journalFile)
	}
	s.agent.seen.add(r.boot, r.seq)
	db.dirty.agents[s.agent] = true
	db.catalog.use(s, sc)
	w := row{sc, r.ms, number, keep, r.values}
	if number <= s.upTo[r.lane] {
		s.mu.Lock()
		s.note(w)
		s.mu.Unlock()
		return nil
	}
	p, closed := s.placeAgain(db.rules, int(r.lane), w)
	db.recovered = append(db.recovered, closed...)
	db.recovered = append(db.recovered, s.add(p, w, now)...)
	return nil
}

// enterUses puts the streams' series into the index; a schema may be known from the journal only.
func (db *DB) enterUses(uses map[*stream][]schemaUse) error {
	for s, list := range uses {
		for _, u := range list {
			sc := db.catalog.schemaID[u.ID]
			if sc == nil {
				return fmt.Errorf("stream %d: schema %d is not known: %w", s.id, u.ID, ErrCorrupt)
			}
			db.catalog.use(s, sc)
			s.mu.Lock()
			s.extend(u.ID, useRange{u.First, u.Last})
			if u.Last > s.last.ms {
				s.last = lastRow{ms: u.Last}
			}
			s.mu.Unlock()
		}
	}
	return nil
}
