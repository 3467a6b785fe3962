// Package lsp is a language server for templates: an editor tells it, over one stream, what is being typed, and it
// tells the editor what is wrong with it, what may stand here, what a word means and where it is declared.
//
// Scan reads a text that may be broken anywhere into blocks, settings and references; a Book is the scanned texts of
// one folder and answers all questions that can be answered from them, without a stream, a clock or a disk. The
// Server keeps what is open, and has a folder checked, by the Check that it is given, when nobody has typed for a moment.
//
// The package finds no mistakes itself, writes no file, and knows nothing of archives: names of packages aren't offered.
package lsp
