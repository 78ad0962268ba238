package probe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"xunjian/pkg/check"
)

// maxSecret bounds what is read of a file of secrets.
const maxSecret = 64 << 10

// secretsIn reads secrets from the environment and from one folder. Names were held to a form by the check's validation; they
// are looked at again here, for the plan comes over the wire: a collector that was taken over must not read this host's files.
func secretsIn(folder string) func(check.Ref) (string, error) {
	return func(r check.Ref) (string, error) {
		switch {
		case r.Env != "" && strings.HasPrefix(r.Env, "XUNJIAN_"):
			v, ok := os.LookupEnv(r.Env)
			if !ok {
				return "", fmt.Errorf("secret: environment variable %s is not set on this host", r.Env)
			}
			return strings.TrimSpace(v), nil
		case r.File == "" || filepath.Base(r.File) != r.File || strings.HasPrefix(r.File, "."):
			return "", errors.New("secret: want a variable that begins with XUNJIAN_, or the name of a file in the agent's folder of secrets")
		case folder == "":
			return "", fmt.Errorf("secret: file %s is wanted, but this agent has no folder of secrets: set secrets in its configuration", r.File)
		}
		return readSecret(folder, r.File)
	}
}

// readSecret stays within the folder whatever symbolic links lie there.
func readSecret(folder, name string) (string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return "", fmt.Errorf("secret: %w", err)
	case !info.Mode().IsRegular() || info.Size() > maxSecret:
		return "", fmt.Errorf("secret: %s is no file of at most %d bytes", name, maxSecret)
	}
	b, err := root.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
