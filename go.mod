module nlmmap

go 1.25
