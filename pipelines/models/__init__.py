"""What every pipeline that trains shares: loading, making and saving models and their chat templates. A library; nothing runs here."""
