package contract

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Points are hundredths of a point, so that 0.5 and 0.2 add up exactly.
type Points int

// Fen is money: hundredths of a yuan.
type Fen int64

var hundredths = regexp.MustCompile(`^\d{1,12}(\.\d{1,2})?$`)

func readHundredths(s string) (int64, bool) {
	if !hundredths.MatchString(s) {
		return 0, false
	}
	whole, part, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole+(part + "00")[:2], 10, 64)
	return n, err == nil
}

func writeHundredths(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	if n%100 == 0 {
		return sign + strconv.FormatInt(n/100, 10)
	}
	return sign + strings.TrimSuffix(fmt.Sprintf("%d.%02d", n/100, n%100), "0")
}

// UnmarshalText reads 0.5 or 100; no more than two decimals.
func (p *Points) UnmarshalText(b []byte) error {
	n, ok := readHundredths(string(b))
	if !ok || n > 1_000_000 {
		return fmt.Errorf("%q are no points: write a number as 10 or 0.5, with at most two decimals", b)
	}
	*p = Points(n)
	return nil
}

// MarshalText writes them as UnmarshalText reads them.
func (p Points) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Points) String() string { return writeHundredths(int64(p)) }

// UnmarshalText reads yuan as 480000 or 480000.50.
func (f *Fen) UnmarshalText(b []byte) error {
	n, ok := readHundredths(string(b))
	if !ok {
		return fmt.Errorf("%q is no amount: write yuan as 480000 or 480000.50", b)
	}
	*f = Fen(n)
	return nil
}

// MarshalText writes it as UnmarshalText reads it.
func (f Fen) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// String is the amount in yuan with both decimals.
func (f Fen) String() string {
	sign := ""
	if f < 0 {
		sign, f = "-", -f
	}
	return fmt.Sprintf("%s%d.%02d", sign, f/100, f%100)
}

// percent is a share of an amount, to the nearest fen.
func (f Fen) percent(p int) Fen { return (f*Fen(p) + 50) / 100 }
