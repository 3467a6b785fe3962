package corpus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
)

// checksA are the checks of web servers, proxies, caches, databases and of a program without a package, by
// the template's folder.
func checksA() map[string]func(ctx context.Context, address string) error {
	return map[string]func(ctx context.Context, address string) error{
		"nginx":      page("Served by nginx.\n"),
		"apache2":    page("Served by Apache.\n"),
		"lighttpd":   page("Served by lighttpd.\n"),
		"static-go":  page("Served by static-go.\n"),
		"haproxy":    forwards,
		"squid":      proxies,
		"varnish":    caches,
		"php-fpm":    fastcgi,
		"redis":      redis,
		"memcached":  memcached,
		"postgresql": postgresql,
		"mariadb":    mariadb,
	}
}

// forwards asks for a page that only the backend has, and that has the address the proxy was asked from.
func forwards(ctx context.Context, address string) error {
	got, err := get(ctx, address, "/")
	if err == nil && !strings.HasPrefix(got, "Answered for 1") {
		err = fmt.Errorf("it says %q", got)
	}
	return err
}

// proxies asks for two pages through the proxy: one that the proxy has itself, and one of a server that it can't reach,
// as an instance reaches none that isn't declared.
func proxies(ctx context.Context, address string) error {
	through := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: address})}}
	defer through.CloseIdleConnections()
	for _, want := range []struct {
		url    string
		status int
		header string
		value  string
	}{
		{"http://proxy.internal/squid-internal-static/icons/SN.png", http.StatusOK, "Content-Type", "image/png"},
		{"http://127.0.0.1:9/page", http.StatusServiceUnavailable, "X-Squid-Error", "ERR_CONNECT_FAIL 111"},
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, want.url, nil)
		if err != nil {
			return err
		}
		resp, err := through.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if got := resp.Header.Get(want.header); err == nil && (resp.StatusCode != want.status || got != want.value || resp.Header.Get("Via") == "") {
			err = fmt.Errorf("%s is answered with %s, %v", want.url, resp.Status, resp.Header)
		}
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}

// caches asks twice for a page: the second answer comes from the cache and says how old it is.
func caches(ctx context.Context, address string) error {
	for _, want := range []string{"miss", "hit"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/page", address), nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if err := says(resp.Header.Get("X-Cache"), want); err != nil {
			return err
		}
	}
	return nil
}

// redis logs in, and finds a value again that it set (RESP, version 2).
func redis(ctx context.Context, address string) error {
	value := fmt.Sprint(rand.Int())
	return dialogue(ctx, address, []exchange{
		{"PING\r\n", "-NOAUTH Authentication required.\r\n"},
		{"*2\r\n$4\r\nAUTH\r\n$7\r\nexample\r\n", "+OK\r\n"},
		{fmt.Sprintf("*3\r\n$3\r\nSET\r\n$5\r\nprice\r\n$%d\r\n%s\r\n", len(value), value), "+OK\r\n"},
		{"*2\r\n$3\r\nGET\r\n$5\r\nprice\r\n", fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)},
	})
}

// memcached finds a value again that it set.
func memcached(ctx context.Context, address string) error {
	value := fmt.Sprint(rand.Int())
	return dialogue(ctx, address, []exchange{
		{fmt.Sprintf("set price 0 60 %d\r\n%s\r\n", len(value), value), "STORED\r\n"},
		{"get price\r\n", fmt.Sprintf("VALUE price 0 %d\r\n%s\r\nEND\r\n", len(value), value)},
	})
}

// exchange is what is sent and the answer that must come.
type exchange struct{ send, want string }

func dialogue(ctx context.Context, address string, exchanges []exchange) error {
	c, hangUp, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer hangUp()
	for _, e := range exchanges {
		if _, err := c.WriteString(e.send); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		got, err := read(c.Reader, len(e.want))
		if err != nil {
			return fmt.Errorf("%q is answered with %q: %w", e.send, got, err)
		}
		if err := says(string(got), e.want); err != nil {
			return fmt.Errorf("asked %q, %w", e.send, err)
		}
	}
	return nil
}

// read returns the next n bytes, or those that came before an error.
func read(r *bufio.Reader, n int) ([]byte, error) {
	got := make([]byte, n)
	n, err := io.ReadFull(r, got)
	return got[:n], err
}
