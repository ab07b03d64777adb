package staff

import "frontdesk/call"

// Directory says, from memory, who the employees are.
type Directory interface {
	// Employee is the employee with a Bitrix24 user id.
	Employee(id int) (call.Employee, bool)
	// At is the one employee who is rung at an extension; nobody where it is a
	// queue, or where several share it.
	At(ext call.Extension) (call.Employee, bool)
}

// directory answers from two lists that others keep.
type directory struct {
	employees func() map[int]call.Employee
	numbers   func() call.Numbers
}

// NewDirectory is the directory of the employees that the CRM has, on the
// numbers that the PBX has. Both functions must answer from memory.
func NewDirectory(employees func() map[int]call.Employee, numbers func() call.Numbers) Directory {
	return directory{employees, numbers}
}

func (d directory) Employee(id int) (call.Employee, bool) {
	e, ok := d.employees()[id]
	return e, ok && id != 0
}

func (d directory) At(ext call.Extension) (call.Employee, bool) {
	if ext == "" || d.numbers().IsQueue(ext) {
		return call.Employee{}, false
	}
	var found call.Employee
	for _, e := range d.employees() {
		if e.Extension != ext || e.Dismissed {
			continue
		}
		if found.ID != 0 {
			return call.Employee{}, false
		}
		found = e
	}
	return found, found.ID != 0
}
