package promapi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// seriesData is a list of series, written one by one.
type seriesData []labels.Labels

func (d seriesData) stream(s *sink) error {
	return encodeList(s, len(d), func(i int) error { s.buf = appendLabels(s.buf, d[i]); return s.spill() })
}

// reading is a call that asks the store for names within a time, at most limit of them.
type reading struct {
	storage.Querier
	ctx   context.Context
	limit int
	sets  [][]*labels.Matcher
	hints storage.SelectHints
}

// read opens the store for a call; the reading is to be closed unless there is a fault.
func (a *api) read(c *call) (*reading, *fault) {
	rd := &reading{ctx: c.Context(), limit: c.limit()}
	start, end := timestamp.FromTime(c.time("start", minTime)), timestamp.FromTime(c.time("end", maxTime))
	rd.sets = c.matchers()
	if c.fault != nil {
		return nil, c.fault
	}
	rd.hints = storage.SelectHints{Start: start, End: end, Func: "series", Limit: rd.limit}
	if rd.limit > 0 {
		rd.hints.Limit++ // to know that there would have been more
	}
	var err error
	if rd.Querier, err = a.Engine.Queryable().Querier(start, end); err != nil {
		return nil, faultOf(err)
	}
	return rd, nil
}

func (a *api) series(c *call) reply {
	if len(c.Values["match[]"]) == 0 {
		return fails(bad("no match[] parameter provided"))
	}
	rd, f := a.read(c)
	if f != nil {
		return fails(f)
	}
	defer rd.Close()
	set := rd.all()
	out := seriesData{}
	for set.Next() {
		if len(out)%128 == 0 && c.Context().Err() != nil {
			return fails(faultOf(c.Context().Err()))
		}
		out = append(out, set.At().Labels())
		if rd.limit > 0 && len(out) > rd.limit {
			return reply{data: out[:rd.limit], notes: truncated(set.Warnings())}
		}
	}
	if err := set.Err(); err != nil {
		return fails(faultOf(err))
	}
	return reply{data: out, notes: set.Warnings()}
}

// all selects what any of the match[] asks for, each series once.
func (rd *reading) all() storage.SeriesSet {
	if len(rd.sets) == 1 {
		return rd.Select(rd.ctx, false, &rd.hints, rd.sets[0]...)
	}
	var sets []storage.SeriesSet
	for _, ms := range rd.sets {
		sets = append(sets, rd.Select(rd.ctx, true, &rd.hints, ms...)) // merging wants them in order
	}
	return storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
}

func (a *api) labelNames(c *call) reply {
	return a.names(c, func(rd *reading, h *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
		return rd.LabelNames(rd.ctx, h, ms...)
	})
}

func (a *api) labelValues(c *call) reply {
	name := c.name
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return fails(bad("invalid label name: %q", name))
	}
	return a.names(c, func(rd *reading, h *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
		return rd.LabelValues(rd.ctx, name, h, ms...)
	})
}

type asking func(*reading, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error)

// names asks once for each match[], or once for all series.
func (a *api) names(c *call, ask asking) reply {
	rd, f := a.read(c)
	if f != nil {
		return fails(f)
	}
	defer rd.Close()
	sets := rd.sets
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	out, notes := []string{}, annotations.Annotations{}
	for _, ms := range sets {
		found, more, err := ask(rd, &storage.LabelHints{Limit: rd.hints.Limit}, ms...)
		if err != nil {
			return fails(&fault{kind: faultOf(err).kind, err: fmt.Errorf("read names: %w", err)})
		}
		notes.Merge(more)
		out = append(out, found...)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if rd.limit > 0 && len(out) > rd.limit {
		out, notes = out[:rd.limit], truncated(notes)
	}
	return reply{data: out, notes: notes}
}
