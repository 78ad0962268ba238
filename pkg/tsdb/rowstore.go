package tsdb

// A chunk of rows is at most so long. It fills one of the allocator's sizes, and a stream's last one is half empty in the middle.
const (
	chunkValues = 1024
	chunkRows   = 20
)

// rowStore holds rows of equal length in chunks that stay where they are: a row that is added moves no other one and leaves
// nothing to be collected. Who has copied a rowStore may read the rows that were there then, while more are added.
type rowStore struct {
	columns, perChunk int
	chunks            [][]float64 // all as long as they will ever be
}

// add puts a row after the first n, which is how many there are.
func (r *rowStore) add(n int, values []float64) {
	if n == 0 {
		r.columns = len(values)
		r.perChunk = max(1, min(chunkRows, chunkValues/max(1, r.columns)))
	}
	if n%r.perChunk == 0 {
		r.chunks = append(r.chunks, make([]float64, r.perChunk*r.columns))
	}
	copy(r.chunks[n/r.perChunk][n%r.perChunk*r.columns:], values)
}

// row is the i-th row.
func (r *rowStore) row(i int) []float64 {
	at := i % r.perChunk * r.columns
	return r.chunks[i/r.perChunk][at : at+r.columns]
}

// column appends one column of the first n rows.
func (r *rowStore) column(dst []float64, n, at int) []float64 {
	for _, chunk := range r.chunks {
		for i := 0; i < r.perChunk && n > 0; i, n = i+1, n-1 {
			dst = append(dst, chunk[i*r.columns+at])
		}
	}
	return dst
}
