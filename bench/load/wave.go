package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"xunjian/pkg/metric"
	"xunjian/pkg/uplink"
)

// Wave is what a restart of the collector did to its agents.
type Wave struct {
	Agents int
	First  time.Duration // until all were in for the first time
	Back   time.Duration // from when the collector took reports again until all were back
	Silent int           // agents that ever counted as silent
	Peak   int64         // the most memory that the collector held
}

func (w Wave) String() string {
	return fmt.Sprintf("%d agents in after %v, all back %v after the restart, %d taken for silent, RSS peak %d MB",
		w.Agents, w.First.Round(time.Second), w.Back.Round(time.Second), w.Silent, w.Peak>>20)
}

// Restart connects agents of the real kind, kills the collector, starts it again and waits until everybody is back.
func Restart(ctx context.Context, o Options) (w Wave, err error) {
	s, err := Start(ctx, o)
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	clients := make([]*uplink.Client, len(s.Agents))
	for i := range s.Agents {
		c, err := uplink.NewClient(uplink.ClientOptions{Address: s.GRPC, TLS: s.Agents[i]})
		if err != nil {
			return w, err
		}
		clients[i] = c
		wg.Go(func() { _ = c.Run(ctx) }) // it never fails
	}
	wg.Go(func() { beat(ctx, clients) })
	w.Agents = len(s.Agents)
	if w.First, err = s.awaitStreams(ctx, &w); err != nil {
		return w, err
	}
	s.Kill()
	if err := sleep(ctx, 5*time.Second); err != nil {
		return w, err
	}
	if err := s.Restart(ctx); err != nil {
		return w, err
	}
	w.Back, err = s.awaitStreams(ctx, &w)
	return w, err
}

// beat has each agent report a little each 15 s.
func beat(ctx context.Context, clients []*uplink.Client) {
	const every = 15 * time.Second
	for turn := 0; sleep(ctx, every/100) == nil; turn++ {
		now := time.Now()
		for i := turn % 100; i < len(clients); i += 100 {
			clients[i].Send(uplink.Batch{Reports: []metric.Report{{
				Kind: metric.KindHost, Every: every, At: now, Samples: []metric.Sample{{Series: metric.New("node_load1"), Value: 1}},
			}}}, false)
		}
	}
}

// awaitStreams waits until all agents are connected, and looks on for as long as it takes for one to count as silent.
func (s *Server) awaitStreams(ctx context.Context, w *Wave) (took time.Duration, err error) {
	begin := time.Now()
	for time.Since(begin) < 5*time.Minute {
		if err := sleep(ctx, time.Second); err != nil {
			return 0, err
		}
		got, err := s.metrics(ctx, "xunjian_uplink_streams", `xunjian_agents{state="silent"}`)
		if err != nil {
			return 0, err
		}
		if u, err := UsageOf(s.Pid); err == nil {
			w.Peak = max(w.Peak, u.Peak)
		}
		w.Silent = max(w.Silent, int(got[1]))
		if took == 0 && int(got[0]) >= w.Agents {
			took = time.Since(begin)
		}
		if took > 0 && time.Since(begin) > 100*time.Second {
			return took, nil
		}
	}
	return 0, fmt.Errorf("not all of %d agents were connected within 5 minutes", w.Agents)
}

// metrics reads samples of the collector's own page; one that is missing is 0.
func (s *Server) metrics(ctx context.Context, names ...string) ([]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Web+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := make([]float64, len(names))
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		for i, name := range names {
			if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
				if out[i], err = strconv.ParseFloat(rest, 64); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, lines.Err()
}
