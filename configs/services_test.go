package configs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"xunjian/pkg/check"
	"xunjian/pkg/config"
)

// pace is what a check is shipped with: how often it is made, from when on it is slow, how often a day at most.
type pace struct {
	every, slow time.Duration
	budget      int
	hours       check.Hours
}

// The schedules and limits of DOMAIN 1.1 to 1.4, and 2 for the core functions.
var shipped = map[string]pace{
	"wopi-health":         {every: time.Minute, slow: 3 * time.Second}, // D1–D3
	"onlyoffice-health":   {every: time.Minute, slow: 3 * time.Second},
	"wps-health":          {every: time.Minute, slow: 3 * time.Second},
	"wopi-document":       {every: 5 * time.Minute, slow: 20 * time.Second, budget: 600}, // D1–D8, 20 s in all
	"onlyoffice-document": {every: 5 * time.Minute, slow: 20 * time.Second},
	"wps-document":        {every: 5 * time.Minute, slow: 20 * time.Second},
	"signature-sign":      {every: time.Minute, slow: 5 * time.Second}, // S1–S7
	"signature-document":  {every: 30 * time.Minute, slow: 10 * time.Second, budget: 60},
	"sms-login":           {every: time.Minute, slow: 3 * time.Second}, // M1–M3
	"sms-delivery": { // M4–M5: every 30 minutes by day, two hours at night, 40 a day
		every: 30 * time.Minute, slow: 65 * time.Second, budget: 40,
		hours: check.Hours{From: "08:00", To: "20:00", Otherwise: 2 * time.Hour},
	},
	"gateway-certificate":   {every: time.Minute, slow: 2500 * time.Millisecond},
	"gateway-routes":        {every: time.Minute, slow: 2 * time.Second}, // G2
	"gateway-deep":          {every: time.Minute, slow: 2 * time.Second}, // G3: 2 s in all
	"documents-via-gateway": {every: time.Minute, slow: 2 * time.Second},
	"oa-read":               {every: 5 * time.Minute, slow: 15 * time.Second},
	"oa-write":              {every: 30 * time.Minute, slow: 30 * time.Second, budget: 40, hours: check.Hours{From: "08:00", To: "18:00", Workdays: true}},
}

// controlled are the checks that show once a day that they tell bad from good (DOMAIN 1.0 rule 3); the kinds of documents and of
// messages bring that with them.
var controlled = []string{"signature-sign", "gateway-deep", "oa-read"}

func TestShippedPaces(t *testing.T) {
	files, err := filepath.Glob("services/*.yml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%v %v", files, err)
	}
	all := map[string]check.Spec{}
	for _, file := range files {
		type fragment struct {
			Services []check.Service `yaml:"services"`
			Checks   []check.Spec    `yaml:"checks"`
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := config.Parse(file, b, fragment{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Checks {
			all[s.Name] = s.WithDefaults()
		}
	}
	for name, want := range shipped {
		s, ok := all[name]
		if got := (pace{s.Every, s.Slow, s.Budget, s.Hours}); !ok || got != want {
			t.Errorf("%s is shipped as %+v, want %+v", name, got, want)
		}
	}
	for _, name := range controlled {
		if f := all[name].Flow; f == nil || len(f.Control) == 0 {
			t.Errorf("%s has no negative control", name)
		}
	}
}
