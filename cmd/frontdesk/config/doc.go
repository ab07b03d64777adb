// Package config reads, validates and explains frontdesk's configuration, one
// YAML file.
//
// A file goes through six steps, and problems are gathered through all of them,
// so that one run tells everything that is wrong:
//
//  1. The text is parsed by goccy/go-yaml into its AST, and the AST is copied
//     into a small tree of ours (tree.go) in which a scalar is the text that was
//     written: +7495... keeps its plus and 0101 its zero. Tags, anchors, aliases
//     and repeated keys are refused, with their position.
//  2. ${NAME} and ${file:/path} are replaced inside values (expand.go).
//  3. The JSON Schema made from the types (schema.go) finds unknown keys, wrong
//     kinds of value and missing ones; where it finds them is mapped back to the
//     tree (validate.go).
//  4. The tree is decoded over the defaults (decode.go, defaults.go).
//  5. What a schema cannot say is checked (semantic*.go).
//  6. The dialplan is compiled by package routing, and its problems are mapped
//     back to the tree (plan.go).
//
// A problem names file, line and column, counted in characters, shows the line
// with a caret and suggests what may have been meant (problems.go). Secrets are
// of type Secret and never show: neither in a problem's text or line, nor in any
// print of a Config.
package config
