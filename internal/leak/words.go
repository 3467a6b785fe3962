package leak

// words finds many words in one pass over a text, whatever the case of ASCII letters: an Aho-Corasick automaton
// with all its transitions in one table.
type words struct {
	next [][256]uint16
	ends [][]uint16 // by state: the words that end there
}

func newWords(all []string) *words {
	w := &words{next: make([][256]uint16, 1), ends: make([][]uint16, 1)}
	for i, word := range all {
		at := uint16(0)
		for _, c := range []byte(word) {
			c = lower(c)
			if w.next[at][c] == 0 {
				w.next = append(w.next, [256]uint16{})
				w.ends = append(w.ends, nil)
				w.next[at][c] = uint16(len(w.next) - 1) //nolint:gosec // some 2,000 states
			}
			at = w.next[at][c]
		}
		w.ends[at] = append(w.ends[at], uint16(i)) // some 400 words
	}
	w.link()
	return w
}

// link fills in, breadth first, where each state goes with a byte that none of its words has next.
func (w *words) link() {
	fail := make([]uint16, len(w.next))
	var queue []uint16
	for _, to := range w.next[0] {
		if to != 0 {
			queue = append(queue, to)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		w.ends[at] = append(w.ends[at], w.ends[fail[at]]...)
		for c, to := range w.next[at] {
			if to == 0 {
				w.next[at][c] = w.next[fail[at]][c]
				continue
			}
			fail[to] = w.next[fail[at]][c]
			queue = append(queue, to)
		}
	}
	for at := range w.next {
		for c := byte('A'); c <= 'Z'; c++ {
			w.next[at][c] = w.next[at][lower(c)]
		}
	}
}

// each calls found for every word in the text, with where it ends.
func (w *words) each(text []byte, found func(word, end int)) {
	at := uint16(0)
	for i, c := range text {
		at = w.next[at][c]
		for _, word := range w.ends[at] {
			found(int(word), i+1)
		}
	}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
