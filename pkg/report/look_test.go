package report

import (
	"os"
	"testing"

	"xunjian/pkg/i18n"
)

// TestWriteSample leaves the sample month's files where XUNJIAN_REPORT_DIR says, for people to look at.
func TestWriteSample(t *testing.T) {
	dir := os.Getenv("XUNJIAN_REPORT_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	lang := os.Getenv("XUNJIAN_REPORT_LANG")
	files, err := Write(dir, sampleModel(t), nil, i18n.For(lang))
	if err != nil {
		t.Fatal(err)
	}
	if len(files.Missing) > 0 {
		t.Errorf("placeholders without a value: %v", files.Missing)
	}
}
