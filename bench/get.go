package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// get asks for a page and takes all of it; anything but a status of 2xx is an error.
func get(ctx context.Context, method, page string) ([]byte, error) {
	return getAs(ctx, method, page, "")
}

// getAs shows a bearer token, unless it is empty.
func getAs(ctx context.Context, method, page, token string) ([]byte, error) {
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
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s: %s: %.500s", page, resp.Status, body)
	}
	return body, nil
}

// plain asks nobody to compress: loopback is fast, and the time to zip would be in every figure.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4}}
