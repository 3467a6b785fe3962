package store

import (
	"context"
	"sync"
)

// keyed is a lock for each key.
type keyed struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the holder lets go
}

// lock waits for the key's lock, or for the end of ctx.
func (k *keyed) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		holder := k.try(key)
		if holder == nil {
			return func() { k.release(key) }, nil
		}
		select {
		case <-holder:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// try takes the lock, or returns a channel that is closed when its holder lets go.
func (k *keyed) try(key string) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.held[key]; ok {
		return c
	}
	if k.held == nil {
		k.held = map[string]chan struct{}{}
	}
	k.held[key] = make(chan struct{})
	return nil
}

func (k *keyed) release(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.held[key])
	delete(k.held, key)
}
