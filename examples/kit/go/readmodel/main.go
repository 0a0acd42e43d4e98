// A read model that passes: the highest revision of each key, tombstones included, in one file.
//
// In examples/kit/go: lab check --exec "go run ./readmodel"
package main

import (
	"path/filepath"

	"example.org/consumer/adapter"
)

type readModel struct {
	path string
	last map[any]adapter.Row
	keys []any // in the order in which they came
}

func open(folder string) (adapter.Consumer, error) {
	model := &readModel{path: filepath.Join(folder, "state.json"), last: map[any]adapter.Row{}}
	var kept []adapter.Row
	err := adapter.Load(model.path, &kept)
	for _, change := range kept {
		model.take(change)
	}
	return model, err
}

func (model *readModel) take(change adapter.Row) {
	key := change["key"]
	known, seen := model.last[key]
	if !seen {
		model.keys = append(model.keys, key)
	}
	if !seen || adapter.Whole(change["revision"]) > adapter.Whole(known["revision"]) {
		model.last[key] = change
	}
}

// Apply writes a batch whole, or not at all.
func (model *readModel) Apply(changes *adapter.Changes) error {
	for change, more := changes.Next(); more; change, more = changes.Next() {
		model.take(change)
	}
	var all []adapter.Row
	for _, key := range model.keys {
		all = append(all, model.last[key])
	}
	return adapter.Save(model.path, all)
}

func (model *readModel) Rows() ([]adapter.Row, error) {
	rows := []adapter.Row{}
	for _, key := range model.keys {
		if change := model.last[key]; change["deleted"] != true {
			rows = append(rows, adapter.State(change))
		}
	}
	return rows, nil
}

func main() {
	adapter.Serve(open)
}
