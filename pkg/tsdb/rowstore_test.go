package tsdb

import (
	"slices"
	"sync"
	"testing"
)

// TestRowStoreWhileItGrows: who has copied it sees the rows of that moment, of any width, while more are added.
func TestRowStoreWhileItGrows(t *testing.T) {
	for _, columns := range []int{0, 1, 7, 61, 500, 3000} {
		var r rowStore
		var readers sync.WaitGroup
		const rows = 130
		row := make([]float64, columns)
		for n := range rows {
			for c := range row {
				row[c] = float64(n*columns + c)
			}
			r.add(n, row)
			if n%9 > 0 {
				continue
			}
			copied, n := r, n+1
			readers.Go(func() {
				for c := range columns {
					for i, v := range copied.column(nil, n, c) {
						if v != float64(i*columns+c) {
							t.Errorf("%d columns, %d rows: row %d column %d is %v", columns, n, i, c, v)
						}
					}
				}
			})
		}
		readers.Wait()
		if got := r.row(rows - 1); !slices.Equal(got, row) {
			t.Errorf("%d columns: the last row is %v", columns, got)
		}
		if columns > 0 && len(r.column(nil, rows, columns-1)) != rows {
			t.Errorf("%d columns: a column of %d rows has %d", columns, rows, len(r.column(nil, rows, columns-1)))
		}
	}
}
