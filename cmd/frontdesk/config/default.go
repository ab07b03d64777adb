package config

import _ "embed"

//go:embed example.yaml
var example string

// Example is a whole configuration file with every key, its default and its
// comment: what frontdesk prints for who begins one. It loads without errors.
func Example() string { return example }
