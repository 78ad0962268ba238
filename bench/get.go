package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
)

// get asks for a page and takes all of it; anything but a status of 2xx is an error.
func get(ctx context.Context, method, page string) ([]byte, error) {
	return getAs(ctx, method, page, "", new(bytes.Buffer))
}

// getAs shows a bearer token, unless it is empty, and reads into room that the caller has: what it returns is good until that
// is used again. Where time is taken the room is there already, for making it would be a third of a short answer's time.
func getAs(ctx context.Context, method, page, token string, room *bytes.Buffer) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, page, http.NoBody)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := plain.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	room.Reset()
	if _, err := room.ReadFrom(resp.Body); err != nil {
		return nil, err
	}
	body := room.Bytes()
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s: %s: %.500s", page, resp.Status, body)
	}
	return body, nil
}

// plain asks nobody to compress: loopback is fast, and the time to zip would be in every figure.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4}}
