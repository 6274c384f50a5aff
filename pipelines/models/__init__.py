"""What all pipelines that train share: loading, making and saving models, and chat templates. A library; nothing runs here."""
