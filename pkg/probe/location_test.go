package probe

import (
	"strings"
	"testing"

	"xunjian/pkg/check"
)

func FuzzLocation(f *testing.F) {
	for _, s := range []string{"/cas/login?a=b", "https://u:p@sso.h/;x?y#z", "//h/%zz", "\x00", "https://[::1]:99/登录"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		shown := shortURL(location)
		if strings.Contains(shown, "?") && !strings.Contains(location, "%3F") && !strings.Contains(location, "%3f") && clip(location) == location {
			t.Errorf("%q is shown with its query: %q", location, shown)
		}
		if len(shown) > 2*maxSeen || check.Clip(shown, 2*maxSeen) != shown {
			t.Errorf("%q is shown as %q", location, shown)
		}
		if masked := maskTarget(location); len(masked) > maxTargetShown {
			t.Errorf("%d bytes", len(masked))
		}
	})
}
