"""What sandboxes may reach outside themselves: the policy of each, the resolver and the passage that carry it out."""
