package verdict

// Memory is what a Judge remembers answers in.
type Memory = memory[string, string]

// NewMemory returns one.
func NewMemory(limit int) *Memory { return newMemory[string, string](limit) }

// Get is its get.
func (m *memory[K, V]) Get(k K) (V, bool) { return m.get(k) }

// Put is its put.
func (m *memory[K, V]) Put(k K, v V) { m.put(k, v) }

// Held is how many bytes are counted for a value.
func Held(v any) int { return held(v) }

// Bytes is how many are counted for all that a memory remembers.
func (m *memory[K, V]) Bytes() int {
	n := 0
	for _, generation := range []map[K]V{m.newer, m.older} {
		for k, v := range generation {
			n += entry + held(k) + held(v)
		}
	}
	return n
}

// Bounded has a Judge remember what statements say in so many bytes, and returns how many it does.
func (j *Judge) Bounded(limit int) func() int {
	j.checked.max = limit
	return j.checked.Bytes
}

// Facts are what conditions may ask of a statement.
func Facts(name string, predicate []byte) (any, error) { return facts(name, predicate) }
