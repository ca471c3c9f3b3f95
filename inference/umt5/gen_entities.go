//go:build ignore

// Gen_entities writes entities.txt from the table of named character references of the HTML standard,
// https://html.spec.whatwg.org/entities.json (the table does not change any more):
//
//	go run gen_entities.go entities.json > entities.txt
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	b, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var table map[string]struct{ Codepoints []rune }
	if err := json.Unmarshal(b, &table); err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	for _, name := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprint(out, strings.TrimPrefix(name, "&"))
		for _, r := range table[name].Codepoints {
			fmt.Fprintf(out, " %X", r)
		}
		fmt.Fprintln(out)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}
