package flow

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/tidwall/gjson"
)

// nonce is hex drawn anew: no cache and no earlier run can know it.
func nonce(v []string) (string, error) {
	n := 16
	if len(v) == 1 {
		var err error
		if n, err = strconv.Atoi(v[0]); err != nil || n < 4 || n > 128 {
			return "", fmt.Errorf("length %q: want 4 to 128", shown(v[0]))
		}
	}
	b := make([]byte, (n+1)/2)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)[:n], nil
}

func uuid([]string) (string, error) {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// forms are the names of ways to write a time, and clockWords what stands in other ones for its parts.
var (
	forms = map[string]func(time.Time) string{
		"unix":    func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) },
		"unixms":  func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) },
		"rfc3339": func(t time.Time) string { return t.Format(time.RFC3339) },
		"http":    func(t time.Time) string { return t.UTC().Format(http.TimeFormat) },
	}
	clockWords = strings.NewReplacer("yyyy", "2006", "MM", "01", "dd", "02", "HH", "15", "mm", "04", "ss", "05", "Z", "Z07:00")
)

// now writes the time in a form (unix, unixms, rfc3339, http, or made of yyyy MM dd HH mm ss), shifted by so much (-24h), in
// a zone.
func now(v []string) (string, error) {
	t, form := time.Now(), "rfc3339"
	if len(v) > 0 {
		form = v[0]
	}
	if len(v) > 1 {
		shift, err := time.ParseDuration(v[1])
		if err != nil {
			return "", fmt.Errorf("shift %q: want one as -24h", shown(v[1]))
		}
		t = t.Add(shift)
	}
	if len(v) > 2 {
		zone, err := time.LoadLocation(v[2])
		if err != nil {
			return "", fmt.Errorf("zone %q: want one as Asia/Shanghai", shown(v[2]))
		}
		t = t.In(zone)
	}
	if write, ok := forms[form]; ok {
		return write(t), nil
	}
	return t.Format(clockWords.Replace(form)), nil
}

// totpCode is the six digits of now (RFC 6238).
func totpCode(v []string) (string, error) {
	code, err := totp.GenerateCode(strings.ReplaceAll(v[0], " ", ""), time.Now())
	if err != nil {
		return "", errors.New("the secret is not base32") // the library's text repeats it
	}
	return code, nil
}

// pick takes a value out of JSON by a gjson path.
func pick(v []string) (string, error) {
	if err := ValidJSON([]byte(v[0])); err != nil {
		return "", err
	}
	r := gjson.Get(v[0], v[1])
	if !r.Exists() {
		return "", fmt.Errorf("%s is missing", shown(v[1]))
	}
	return r.String(), nil
}
