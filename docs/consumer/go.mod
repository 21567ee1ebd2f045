module example.com/consumer

go 1.25

require (
	nlmmap v0.0.0
	pgregory.net/rapid v1.3.0
)

require (
	golang.org/x/net v0.47.0 // indirect
	golang.org/x/sys v0.38.0 // indirect
	golang.org/x/tools v0.39.0 // indirect
)

replace nlmmap => ../..
