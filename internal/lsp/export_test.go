package lsp

import (
	"bufio"
	"bytes"
	"encoding/json"
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
