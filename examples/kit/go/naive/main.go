// A read model as in many tutorials, which fails: an insert for revision 1, an update for the others, a delete.
//
// In examples/kit/go: lab check --exec "go run ./naive"
package main

import (
	"path/filepath"

	"example.org/consumer/adapter"
)

type naive struct {
	path  string
	table []adapter.Row
}

func open(folder string) (adapter.Consumer, error) {
	model := &naive{path: filepath.Join(folder, "state.json"), table: []adapter.Row{}}
	return model, adapter.Load(model.path, &model.table)
}

func (model *naive) Apply(changes *adapter.Changes) error {
	for change, more := changes.Next(); more; change, more = changes.Next() {
		row := adapter.State(change)
		if change["deleted"] != true && adapter.Whole(change["revision"]) == 1 {
			model.table = append(model.table, row)
		} else {
			kept := []adapter.Row{}
			for _, other := range model.table {
				if other["key"] != row["key"] {
					kept = append(kept, other)
				} else if change["deleted"] != true {
					kept = append(kept, row)
				}
			}
			model.table = kept
		}
		if err := adapter.Save(model.path, model.table); err != nil {
			return err
		}
	}
	return nil
}

func (model *naive) Rows() ([]adapter.Row, error) {
	return model.table, nil
}

func main() {
	adapter.Serve(open)
}
