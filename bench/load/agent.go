package load

import (
	"context"
	"time"

	"xunjian/pkg/metric"
	"xunjian/pkg/uplink"
)

// sentRing holds when messages were sent; more are never under way.
const sentRing = 1024

// agent is one simulated agent: one goroutine sends, one hears.
type agent struct {
	*crowd
	i     int
	bare  *uplink.Bare
	slots chan struct{} // taken by reports under way
	at    [sentRing]int64
}

// play starts an agent whose stream is open.
func (c *crowd) play(ctx context.Context, i int) {
	a := &agent{crowd: c, i: i, bare: c.agents[i], slots: make(chan struct{}, min(c.Window, sentRing))}
	ctx, cancel := context.WithCancel(ctx)
	c.wait.Go(func() {
		defer cancel()
		a.hear(ctx)
	})
	c.wait.Go(func() {
		defer a.bare.Close()
		a.talk(ctx)
		<-ctx.Done()
	})
}

func (a *agent) talk(ctx context.Context) {
	select {
	case <-a.send:
	case <-ctx.Done():
		return
	}
	wait := time.NewTimer(0)
	defer wait.Stop()
	phase := a.Every * time.Duration(a.i) / time.Duration(a.Options.Agents)
	if a.Fill > 0 { // so that nothing is to be caught up with when the heads are full
		phase += time.Duration(float64(a.Before*a.Options.Agents) / a.Fill * float64(time.Second))
	}
	begin := time.Now().Truncate(time.Millisecond).Add(phase)
	for tick := 0; ; tick++ {
		if tick < a.Before && a.filler.Wait(ctx) != nil {
			return
		}
		at := a.First.Add(time.Duration(tick) * a.Step)
		if a.Every > 0 {
			at = begin.Add(time.Duration(tick-a.Before) * a.Every)
			wait.Reset(time.Until(at))
			select {
			case <-wait.C:
			case <-ctx.Done():
				return
			}
		}
		select {
		case a.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		a.at[(tick+1)%sentRing] = time.Now().UnixNano() // read only after the other end has answered
		if err := a.bare.Send(uplink.Batch{Reports: []metric.Report{a.report(tick, at)}}); err != nil {
			return
		}
	}
}

func (a *agent) report(tick int, at time.Time) metric.Report {
	values := a.Row(a.i, tick)
	r := metric.Report{Kind: metric.KindHost, Every: a.Step, At: at, Samples: make([]metric.Sample, len(values))}
	if a.Every > 0 {
		r.Every = a.Every
	}
	for i, v := range values {
		r.Samples[i] = metric.Sample{Series: a.Series[i], Value: v}
	}
	return r
}

func (a *agent) hear(ctx context.Context) {
	var done uint64
	for {
		acked, refused, err := a.bare.Recv()
		if err != nil {
			if ctx.Err() == nil {
				a.broken.Add(1)
			}
			return
		}
		a.refused.Add(int64(refused))
		now := time.Now().UnixNano()
		for ; done < acked; done++ {
			a.latency.add(time.Duration(now - a.at[(done+1)%sentRing]))
			a.acked.Add(1)
			<-a.slots
		}
	}
}
