// Command pusher pushes blobs of random bytes to a registry the way that clients do, a POST and a PUT each, and prints how many
// seconds that took. With a folder named, a blob counts as pushed when all of that folder's file system is on its disk: registries
// that sync nothing themselves are measured so beside those that do.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

type pusher struct {
	base string
	http *http.Client
	sync *os.File // in the file system to sync; nil for none
}

func main() {
	address := flag.String("to", "", "the registry's `URL`")
	number := flag.Int("n", 1000, "how many blobs")
	size := flag.Int("size", 4096, "bytes of each")
	clients := flag.Int("clients", 8, "how many push at once")
	folder := flag.String("syncfs", "", "sync this `FOLDER`'s file system after each blob")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) //nolint:forbidigo // it is a program
	defer stop()
	took, err := run(ctx, *address, *folder, [3]int{*number, *size, *clients})
	if err != nil {
		log.Fatal("pusher: ", err)
	}
	_, _ = fmt.Fprintf(os.Stdout, "%.3f\n", took.Seconds())
}

// run pushes and returns how long it took; the numbers are of blobs, of their bytes and of clients.
func run(ctx context.Context, address, folder string, numbers [3]int) (time.Duration, error) {
	p := pusher{base: address}
	if folder != "" {
		f, err := os.Open(folder)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		p.sync = f
	}
	p.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: numbers[2]}}
	blobs := make([][]byte, numbers[0])
	for i := range blobs {
		blobs[i] = make([]byte, numbers[1])
		_, _ = rand.Read(blobs[i]) // never fails
	}
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(numbers[2])
	for _, b := range blobs {
		group.Go(func() error { return p.push(ctx, b) })
	}
	err := group.Wait()
	return time.Since(began), err
}

func (p pusher) push(ctx context.Context, b []byte) error {
	location, err := p.do(ctx, http.MethodPost, p.base+"/v2/bench/blobs/uploads/", nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	query := location.Query()
	query.Set("digest", "sha256:"+hex.EncodeToString(sum[:]))
	location.RawQuery = query.Encode()
	if _, err := p.do(ctx, http.MethodPut, location.String(), b, http.StatusCreated); err != nil || p.sync == nil {
		return err
	}
	return unix.Syncfs(int(p.sync.Fd()))
}

// do makes a request and returns the answer's Location.
func (p pusher) do(ctx context.Context, method, address string, body []byte, status int) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		return nil, fmt.Errorf("%s %s: %s %s", method, address, resp.Status, text)
	}
	return resp.Location()
}
