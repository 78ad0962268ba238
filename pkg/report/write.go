package report

import (
	"fmt"
	"os"
	"path/filepath"

	"xunjian/pkg/i18n"
)

// Files are the paths of a written report, and the placeholders of its form that had no value.
type Files struct {
	Word    string
	Excel   string
	Missing []string
}

// Write puts the month into dir as xunjian-2026-11.docx and .xlsx, each of them whole or not at all. form is the customer's
// own .docx, nil for the one that comes with the program.
func Write(dir string, m *Model, form []byte, p *i18n.Printer) (Files, error) {
	word, missing, err := Word(m, form, p)
	if err != nil {
		return Files{}, err
	}
	excel, err := Excel(m, p)
	if err != nil {
		return Files{}, err
	}
	base := filepath.Join(dir, "xunjian-"+m.Month)
	out := Files{Word: base + ".docx", Excel: base + ".xlsx", Missing: missing}
	if err := replace(out.Word, word); err != nil {
		return Files{}, fmt.Errorf("write report: %w", err)
	}
	if err := replace(out.Excel, excel); err != nil {
		return Files{}, fmt.Errorf("write report: %w", err)
	}
	return out, nil
}

// replace writes a file beside its place, makes it durable and moves it there.
func replace(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".xunjian-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Chmod(0o640); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
