package lsp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
)

// ReadMessage reads one message of what an editor sends.
func ReadMessage(b []byte) (json.RawMessage, error) {
	var m json.RawMessage
	err := readMessage(bufio.NewReader(bytes.NewReader(b)), &m)
	return m, err
}

// Symbols counts what the outline of a page shows.
func Symbols(p *Page) int {
	left := maxSymbols
	symbolsOf(p, p.Root, &left)
	return maxSymbols - left
}

// OpenUntilFull opens documents of a size until there is no room, and returns how many were taken.
func OpenUntilFull(size int) int {
	d := &desk{docs: map[string]document{}}
	text := string(make([]byte, size))
	for n := 0; ; n++ {
		if !d.put(fmt.Sprintf("/%d", n), document{text: text}) {
			return n
		}
		if !d.put(fmt.Sprintf("/%d", n), document{text: text}) { // the same again takes no more room
			return -1
		}
	}
}
