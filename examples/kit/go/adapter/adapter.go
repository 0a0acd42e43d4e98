// Package adapter lets `lab check --exec` try a consumer: lines of JSON, on standard input and output.
package adapter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// Row is a state with its key. Numbers are json.Number, in all their digits: a float64 would round integers beyond 2^53.
type Row = map[string]any

// Consumer is made with a folder. What it keeps there outlives a crash: made with the same folder again, it must go on
// from there.
type Consumer interface {
	Apply(changes *Changes) error
	Rows() ([]Row, error)
}

type request struct {
	ID       int    `json:"id"`
	Do       string `json:"do"`
	Folder   string `json:"folder"`
	Changes  []Row  `json:"changes"`
	DieAfter int    `json:"die_after"`
}

// Changes hands the changes over one by one; the process ends itself after so many of them, if it is to.
type Changes struct {
	rest     []Row
	dieAfter int
	given    int
}

// Next returns the next change, and false when there is none.
func (changes *Changes) Next() (Row, bool) {
	if changes.dieAfter > 0 && changes.given == changes.dieAfter {
		os.Exit(137)
	}
	if len(changes.rest) == 0 {
		return nil, false
	}
	change := changes.rest[0]
	changes.rest, changes.given = changes.rest[1:], changes.given+1
	return change, true
}

// Serve answers the lab's requests until standard input ends.
func Serve(open func(folder string) (Consumer, error)) {
	// What the consumer prints must not get between the answers.
	answers := os.Stdout
	os.Stdout = os.Stderr
	lines := bufio.NewReader(os.Stdin)
	var consumer Consumer
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked request
		answer := map[string]any{"ok": true}
		if err = Decode(line, &asked); err == nil {
			switch asked.Do {
			case "init":
				consumer, err = open(asked.Folder)
				answer["keeps"], answer["tears"] = true, true
			case "apply":
				err = consumer.Apply(&Changes{rest: asked.Changes, dieAfter: asked.DieAfter})
			case "rows":
				answer["rows"], err = consumer.Rows()
			default:
				err = fmt.Errorf("there is no request %s", asked.Do)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			answer = map[string]any{"error": err.Error()}
		}
		answer["id"] = asked.ID
		text, _ := json.Marshal(answer)
		answers.Write(append(text, '\n'))
	}
}

// Decode reads JSON, and numbers in all their digits.
func Decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// Whole returns a number that is known to be a small integer, as positions and revisions are.
func Whole(value any) int64 {
	found, _ := value.(json.Number).Int64()
	return found
}

var meta = []string{"position", "revision", "deleted", "event", "committed_at", "transaction", "transaction_size"}

// State returns a change without what isn't part of the record's state.
func State(change Row) Row {
	row := Row{}
	for name, value := range change {
		row[name] = value
	}
	for _, name := range meta {
		delete(row, name)
	}
	return row
}

// Load reads what Save has written; nothing if there is no such file.
func Load(path string, into any) error {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return Decode(text, into)
}

// Save writes a file whole or not at all, whenever the process is killed.
func Save(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err = os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
