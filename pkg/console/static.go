package console

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
)

// hashAssets gives each static file an address that changes with its content, so that browsers may keep it for good.
func hashAssets() (map[string]string, error) {
	names, err := fs.Glob(files, "static/*")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		out[path.Base(name)] = "/" + name + "?v=" + hex.EncodeToString(sum[:6])
	}
	return out, nil
}

func (c *Console) asset(name string) string { return c.assets[name] }

func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	address, ok := c.assets[name]
	if !ok {
		c.noPage(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.RequestURI() == address {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeFileFS(w, r, files, "static/"+name)
}

// favicon answers browsers that ask for it unbidden.
func (c *Console) favicon(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "static/icon.svg")
}
