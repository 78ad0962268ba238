// Package recording holds an hour of a real host, which tests and benchmarks replay.
package recording

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"xunjian/pkg/metric"
)

// packed is a line of JSON that names the series, and behind it a line for each second: its time and their values.
//
//go:embed host.txt.zst
var packed []byte

// Recording is readings of a host, one a second.
type Recording struct {
	Series []metric.Series
	Rows   [][]float64 // values in the order of Series
}

// Load gives the recording without the computed values that it also has (…_raw): agents send counters and whole numbers,
// and ratios are made on reading. It is read once for all, who must not change it.
var Load = sync.OnceValues(func() (Recording, error) {
	z, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Recording{}, fmt.Errorf("read the recording: %w", err)
	}
	defer z.Close()
	return read(z)
})

func read(from io.Reader) (r Recording, err error) {
	lines := bufio.NewScanner(from)
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
	var keep []int // fields of a line
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
