package crmtest

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// File is a file on the company's drive.
type File struct {
	ID      int
	Name    string
	Folder  string // the month, as 2026-08
	Owner   int
	Size    int
	Created time.Time
}

// drive is the company's drive: recordings lie in VI_CALLS, in a folder for each
// month.
type drive struct {
	files   map[int]File
	folders map[string]int // by month
	deleted []File
}

// The ids of the drive's fixed objects.
const (
	storageID  = 5
	rootFolder = 9
	callFolder = 10
)

// keepFile stores the recording of a call.
func (p *Portal) keepFile(name string, c *Call, size int) int {
	month := c.Started.Format("2006-01")
	if p.drive.folders[month] == 0 {
		p.drive.folders[month] = p.id()
	}
	f := File{ID: p.id(), Name: name, Folder: month, Owner: c.FinishedBy, Size: size, Created: p.now()}
	p.drive.files[f.ID] = f
	return f.ID
}

// AddFile puts a file among the recordings, as other telephony does, and returns
// its id.
func (p *Portal) AddFile(f File) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.ID == 0 {
		f.ID = p.id()
	}
	if f.Created.IsZero() {
		f.Created = p.now()
	}
	if f.Folder == "" {
		f.Folder = f.Created.Format("2006-01")
	}
	if p.drive.folders[f.Folder] == 0 {
		p.drive.folders[f.Folder] = p.id()
	}
	p.drive.files[f.ID] = f
	return f.ID
}

// Files are the files on the drive, by id.
func (p *Portal) Files() []File {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sortedFiles()
}

func (p *Portal) sortedFiles() []File {
	return slices.SortedFunc(maps.Values(p.drive.files), func(a, b File) int { return a.ID - b.ID })
}

// Deleted are the files that were deleted, in order.
func (p *Portal) Deleted() []File {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.drive.deleted)
}

func driveMethods() map[string]method {
	return map[string]method{
		"disk.storage.getlist":     storages,
		"disk.storage.getchildren": storageChildren,
		"disk.folder.getchildren":  folderChildren,
		"disk.file.get":            fileGet,
		"disk.file.delete":         fileDelete,
		"disk.file.markdeleted":    fileDelete,
		"disk.folder.deletetree":   folderDelete,
	}
}

// storages are the company drive alone.
func storages(*Portal, invocation) (answer, *Failure) {
	return answer{list: true, total: 1, result: []any{map[string]any{
		"ID": strconv.Itoa(storageID), "NAME": "Company drive", "ENTITY_TYPE": "common", "ENTITY_ID": "shared_files_s1",
		"ROOT_OBJECT_ID": strconv.Itoa(rootFolder),
	}}}, nil
}

// object is a folder or a file as lists show it.
type object struct {
	file File // zero for a folder
	row  map[string]any
}

func folderRow(id int, name, code string, parent int) map[string]any {
	return map[string]any{"ID": strconv.Itoa(id), "NAME": name, "CODE": code, "TYPE": "folder", "PARENT_ID": strconv.Itoa(parent)}
}

func (f File) row(parent int) map[string]any {
	return map[string]any{
		"ID": strconv.Itoa(f.ID), "NAME": f.Name, "CODE": nil, "TYPE": "file", "PARENT_ID": strconv.Itoa(parent),
		"FILE_ID": strconv.Itoa(f.ID + 500000), "SIZE": strconv.Itoa(f.Size), "CREATE_TIME": f.Created.Format(time.RFC3339),
		"CREATED_BY": strconv.Itoa(f.Owner),
	}
}

func storageChildren(p *Portal, c invocation) (answer, *Failure) {
	if c.number("id") != storageID {
		return answer{}, &Failure{400, "ERROR_NOT_FOUND", "Could not find entity with id `" + c.text("id") + "`."}
	}
	return p.children(rootFolder, c)
}

func folderChildren(p *Portal, c invocation) (answer, *Failure) { return p.children(c.number("id"), c) }

// children lists what a user may see: the recordings' folder is the
// administrators', each file its owner's too.
func (p *Portal) children(id int, c invocation) (answer, *Failure) {
	admin := !p.rights.plain[c.user]
	var all []object
	switch month, known := p.month(id); {
	case id == rootFolder && admin:
		all = append(all, object{row: folderRow(callFolder, "Telephony: call records", "VI_CALLS", rootFolder)})
	case id == rootFolder:
	case id == callFolder && admin:
		for _, month := range slices.Sorted(maps.Keys(p.drive.folders)) {
			all = append(all, object{row: folderRow(p.drive.folders[month], month, "", callFolder)})
		}
	case id == callFolder:
	case known:
		for _, f := range p.sortedFiles() {
			if f.Folder == month && (admin || f.Owner == c.user) {
				all = append(all, object{f, f.row(id)})
			}
		}
	default:
		return answer{}, &Failure{400, "ERROR_NOT_FOUND", "Could not find entity with id `" + c.text("id") + "`."}
	}
	l := c.listing()
	rows := slices.DeleteFunc(all, func(o object) bool {
		return slices.ContainsFunc(l.conditions, func(c condition) bool { return !c.holds([]any{o.row[c.field]}) })
	})
	return page(l, rows, func(o object) any { return o.row }), nil
}

// month is the month of a folder.
func (p *Portal) month(id int) (string, bool) {
	for month, folder := range p.drive.folders {
		if folder == id {
			return month, true
		}
	}
	return "", false
}

// file is a file that a user may do anything with.
func (p *Portal) file(c invocation) (File, *Failure) {
	if c.number("id") == 0 {
		return File{}, &Failure{400, "ERROR_ARGUMENT", "Invalid value of parameter { Parameter #0 [ <required> $id ] }"}
	}
	f, ok := p.drive.files[c.number("id")]
	switch {
	case !ok:
		return File{}, &Failure{400, "ERROR_NOT_FOUND", "Could not find entity with id `" + c.text("id") + "`."}
	case p.rights.plain[c.user] && f.Owner != c.user:
		return File{}, &Failure{403, "ACCESS_DENIED", "Access denied"}
	}
	return f, nil
}

func fileGet(p *Portal, c invocation) (answer, *Failure) {
	f, fail := p.file(c)
	if fail != nil {
		return answer{}, fail
	}
	return answer{result: f.row(p.drive.folders[f.Folder])}, nil
}

func fileDelete(p *Portal, c invocation) (answer, *Failure) {
	f, fail := p.file(c)
	if fail != nil {
		return answer{}, fail
	}
	p.discard(f)
	return answer{result: true}, nil
}

func (p *Portal) discard(f File) {
	delete(p.drive.files, f.ID)
	p.drive.deleted = append(p.drive.deleted, f)
}

func folderDelete(p *Portal, c invocation) (answer, *Failure) {
	month, ok := p.month(c.number("id"))
	switch {
	case c.number("id") == rootFolder:
		return answer{}, &Failure{400, "DISK_OBJ_22000", "Could not delete the root folder"}
	case !ok:
		return answer{}, &Failure{400, "ERROR_NOT_FOUND", "Could not find entity with id `" + c.text("id") + "`."}
	case p.rights.plain[c.user]:
		return answer{}, &Failure{403, "ACCESS_DENIED", "Access denied"}
	}
	for _, f := range p.sortedFiles() {
		if f.Folder == month {
			p.discard(f)
		}
	}
	delete(p.drive.folders, month)
	return answer{result: true}, nil
}
