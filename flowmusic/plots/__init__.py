"""Pictures of controls, clips and sounds."""
