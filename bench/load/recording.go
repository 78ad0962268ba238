package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"xunjian/pkg/metric"
)

// Recording is readings of a real host, one after the other.
type Recording struct {
	Series []metric.Series
	Rows   [][]float64
}

// Row is what an agent reads at a tick: the recording runs round and round, and starts elsewhere for each agent.
func (r Recording) Row(agent, tick int) []float64 {
	const stride = 37 // rows between neighbours; no divisor of the rows there are
	return r.Rows[(tick+agent*stride)%len(r.Rows)]
}

// ReadRecording reads an hour of a host, a row each second, without the computed values (…_raw) that no agent sends.
func ReadRecording(path string) (r Recording, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, fmt.Errorf("read the recording (bench runs in the top folder): %w", err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return r, err
	}
	defer z.Close()
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	var head struct {
		Series []struct {
			Name   string
			Labels map[string]string
		}
	}
	if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
		return r, fmt.Errorf("read the recording's first line: %w", err)
	}
	var keep []int
	for i, s := range head.Series {
		if strings.HasSuffix(s.Name, "_raw") {
			continue
		}
		var pairs []string
		for name, value := range s.Labels {
			pairs = append(pairs, name, value)
		}
		keep, r.Series = append(keep, i+1), append(r.Series, metric.New(s.Name, pairs...))
	}
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != len(head.Series)+1 {
			continue // cut off
		}
		row := make([]float64, len(keep))
		for i, k := range keep {
			if row[i], err = strconv.ParseFloat(fields[k], 64); err != nil {
				return r, fmt.Errorf("read the recording: %w", err)
			}
		}
		r.Rows = append(r.Rows, row)
	}
	return r, lines.Err()
}
