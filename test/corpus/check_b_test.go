package corpus_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checksB are the checks of runtimes, message brokers, name servers and of what watches other servers, by
// the template's folder. Each speaks the software's own protocol to the address, a host and a port.
func checksB() map[string]func(ctx context.Context, address string) error {
	return map[string]func(ctx context.Context, address string) error{
		"python":                   total,
		"nodejs":                   total,
		"ruby":                     total,
		"java":                     page("Served by Java.\n"),
		"caddy":                    filledIn,
		"rabbitmq":                 amqpRoundTrip,
		"mosquitto":                mqttRoundTrip,
		"unbound":                  zone("answered by unbound"),
		"bind9":                    zone("answered by bind9"),
		"prometheus":               scrapesItself,
		"prometheus-node-exporter": countsMemory,
		"etcd":                     keepsAKey,
	}
}

// get returns the body of what a GET is answered with 200.
func get(ctx context.Context, address, path string) (string, error) {
	return ask(ctx, http.MethodGet, "http://"+address+path, nil)
}

func ask(ctx context.Context, method, target string, body io.Reader) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s is answered with %s: %s", method, target, resp.Status, text)
	}
	return string(text), err
}

// says is nil where both are the same.
func says(got, want string) error {
	if got != want {
		return fmt.Errorf("it says %q instead of %q", got, want)
	}
	return nil
}

func page(want string) func(ctx context.Context, address string) error {
	return func(ctx context.Context, address string) error {
		got, err := get(ctx, address, "/")
		if err != nil {
			return err
		}
		return says(got, want)
	}
}

// total asks an application for a sum that it can't have known.
func total(ctx context.Context, address string) error {
	cents, pieces := 1+rand.IntN(99999), 1+rand.IntN(99)
	got, err := get(ctx, address, fmt.Sprintf("/total?price=%d.%02d&pieces=%d", cents/100, cents%100, pieces))
	if err != nil {
		return err
	}
	var answer struct {
		Total string `json:"total"`
	}
	if err := json.Unmarshal([]byte(got), &answer); err != nil {
		return fmt.Errorf("%w in %q", err, got)
	}
	sum := cents * pieces
	return says(answer.Total, fmt.Sprintf("%d.%02d", sum/100, sum%100))
}

// filledIn asks for a page that has the asker's name, in capitals.
func filledIn(ctx context.Context, address string) error {
	name := fmt.Sprintf("visitor%d", rand.IntN(1e6))
	got, err := get(ctx, address, "/?name="+name)
	if err == nil && !strings.Contains(got, "Hello, "+strings.ToUpper(name)+"!") {
		err = fmt.Errorf("the page for %s has %q", name, got)
	}
	return err
}

// zone asks for the text and the address of shop.test over TCP.
func zone(want string) func(ctx context.Context, address string) error {
	return func(ctx context.Context, address string) error {
		resolver := net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}}
		texts, err := resolver.LookupTXT(ctx, "shop.test.")
		if err != nil {
			return err
		}
		addresses, err := resolver.LookupHost(ctx, "shop.test.")
		return errors.Join(err, says(strings.Join(slices.Concat(texts, addresses), ", "), want+", 192.0.2.53"))
	}
}

// scrapesItself waits until Prometheus has looked at its only target and found it up.
func scrapesItself(ctx context.Context, address string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := get(ctx, address, "/api/v1/query?query="+url.QueryEscape(`up{job="prometheus"}`))
		if err != nil {
			return err
		}
		var answer struct {
			Data struct {
				Result []struct {
					Value [2]any `json:"value"`
				} `json:"result"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(got), &answer); err != nil {
			return fmt.Errorf("%w in %q", err, got)
		}
		if r := answer.Data.Result; len(r) == 1 && r[0].Value[1] == "1" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the last answer was %s", context.Cause(ctx), got)
		case <-tick.C:
		}
	}
}

// countsMemory looks for a figure of this machine among those of the node exporter.
func countsMemory(ctx context.Context, address string) error {
	got, err := get(ctx, address, "/metrics")
	if err != nil {
		return err
	}
	for line := range strings.Lines(got) {
		if value, ok := strings.CutPrefix(line, "node_memory_MemTotal_bytes "); ok {
			memory, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err == nil && memory < 1<<20 {
				err = fmt.Errorf("a machine with %s bytes of memory", value)
			}
			return err
		}
	}
	return errors.New("the figures have no node_memory_MemTotal_bytes")
}

// keepsAKey puts a key and reads it through etcd's JSON gateway.
func keepsAKey(ctx context.Context, address string) error {
	b64 := base64.StdEncoding.EncodeToString
	key, value := b64([]byte("/shop/prices")), b64(fmt.Appendf(nil, "%d", rand.Int()))
	request := func(path string, fields map[string]string) (string, error) {
		body, err := json.Marshal(fields)
		if err != nil {
			return "", err
		}
		return ask(ctx, http.MethodPost, "http://"+address+path, bytes.NewReader(body))
	}
	if _, err := request("/v3/kv/put", map[string]string{"key": key, "value": value}); err != nil {
		return err
	}
	got, err := request("/v3/kv/range", map[string]string{"key": key})
	if err != nil {
		return err
	}
	var answer struct {
		Kvs []struct {
			Key   string `json:"key"`
			Value string `json:"value"`
		} `json:"kvs"`
	}
	if err := json.Unmarshal([]byte(got), &answer); err != nil || len(answer.Kvs) != 1 {
		return fmt.Errorf("%s, %w", got, err)
	}
	return says(answer.Kvs[0].Value, value)
}

// dial connects with the context's deadline on all that is said.
func dial(ctx context.Context, address string) (*bufio.ReadWriter, func(), error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = c.SetDeadline(deadline)
	}
	return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), func() { _ = c.Close() }, err
}
