package verdict

import (
	"reflect"
	"sync"
	"time"
)

// memory remembers answers by what they are answers to, within a number of bytes. It has two generations, each with at most half of
// them: when the newer is full it becomes the older, and what was asked for in neither since then is forgotten. So what is used all the time
// stays, however much else comes by. An answer that is larger than a generation isn't remembered.
type memory[K comparable, V any] struct {
	max int

	mu           sync.Mutex
	newer, older map[K]V
	bytes        int // of the newer generation
}

func newMemory[K comparable, V any](limit int) *memory[K, V] {
	return &memory[K, V]{max: limit, newer: map[K]V{}}
}

// get returns what is remembered.
func (m *memory[K, V]) get(k K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.newer[k]; ok {
		return v, true
	}
	v, ok := m.older[k]
	if ok {
		m.add(k, v)
	}
	return v, ok
}

// put remembers an answer, in place of an earlier one.
func (m *memory[K, V]) put(k K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(k, v)
}

// drop forgets an answer.
func (m *memory[K, V]) drop(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.newer[k]; ok {
		m.bytes -= entry + held(k) + held(old)
	}
	delete(m.newer, k)
	delete(m.older, k)
}

// entry is about what an entry of a map takes beside what is in it: the map's own words, and its room to grow.
const entry = 64

func (m *memory[K, V]) add(k K, v V) {
	size := entry + held(k) + held(v)
	if size > m.max/2 {
		return
	}
	if old, ok := m.newer[k]; ok {
		m.bytes -= entry + held(k) + held(old)
	}
	if m.bytes+size > m.max/2 {
		m.older, m.newer, m.bytes = m.newer, map[K]V{}, 0
	}
	m.newer[k] = v
	m.bytes += size
}

// held is how many bytes a value holds, with all that it leads to. What is led to twice counts twice.
func held(v any) int {
	r := reflect.ValueOf(v)
	if !r.IsValid() {
		return 0
	}
	return int(r.Type().Size()) + behind(r)
}

// behind is what a value leads to.
func behind(v reflect.Value) int {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return 0 // its time zone isn't its own
	}
	n := 0
	switch v.Kind() { //nolint:exhaustive // all others lead to nothing
	case reflect.String:
		n = v.Len()
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			n = int(v.Elem().Type().Size()) + behind(v.Elem())
		}
	case reflect.Slice:
		n = v.Cap() * int(v.Type().Elem().Size())
		for i := range v.Len() {
			n += behind(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			n += behind(v.Index(i))
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			n += behind(field)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			n += entry + int(it.Key().Type().Size()+it.Value().Type().Size()) + behind(it.Key()) + behind(it.Value())
		}
	}
	return n
}
