"""O programa do atendente: fica disponível e conversa com um cliente depois do outro.

É o `cliente.py` com o que nele é diferente: no fim de uma conversa o cliente sai, e o atendente volta para a fila.
"""

import sys

import cliente
from protocolo import Comando, Fim, Tipo


class Atendente(cliente.Cliente):
    """Quem atende."""

    tipo = Tipo.ATENDENTE
    descricao = "Atendente da fila de atendimento: conversa com um cliente depois do outro."
    ajuda_do_departamento = "o departamento atendido, vários separados por vírgulas, ou * para todos"
    pergunta_do_nome = "Digite seu nome de atendente: "
    ja_entrou = "Você está online e aguardando clientes."

    def mostrar_fila(self, posicao: int | None) -> None:
        self.tela.mostrar("(Aguardando clientes...)", "amarelo")

    def acabou(self, mensagem: str) -> bool:
        linhas = [f"*** {mensagem} ***"]
        if self.tela.em_conversa:
            linhas.append("*** Chat encerrado. ***")
        self.tela.conversa(em_curso=False)
        self.tela.mostrar("\n".join(linhas), "verde")
        return False

    def interpretar(self, linha: str) -> Comando | None:
        comando = super().interpretar(linha)
        if isinstance(comando, Fim) and self.tela.interativa and not self.tela.em_conversa:
            # O servidor entenderia que o atendente quer deixar a fila.
            self.tela.mostrar("(Nenhuma conversa para encerrar; /sair fecha o programa.)", "amarelo")
            return None
        return comando


def main() -> int:
    """O comando `python atendente.py`."""
    return cliente.main(Atendente)


if __name__ == "__main__":
    sys.exit(main())
