package explore

import "context"

// Find searches as Explore does, but leaves a failure as it was found.
func Find(ctx context.Context, p Program, o Options) Result { return search(ctx, p, o) }
