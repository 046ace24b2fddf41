# coding: utf-8
"""O programa do atendente: fica disponível e conversa com um cliente depois do outro.

É o `cliente.py` com o que nele é diferente: no fim de uma conversa o cliente sai, e o atendente, quando já o leu, diz
que está pronto para a próxima.
"""

import sys

import cliente
from protocolo import Comando, Mensagem, Pronto, Tipo


class Atendente(cliente.Cliente):
    """Quem atende."""

    tipo = Tipo.ATENDENTE
    descricao = "Atendente da fila de atendimento: conversa com um cliente depois do outro."
    ajuda_do_departamento = "o departamento atendido, vários separados por vírgulas, ou * para todos"
    ja_entrou = "Você está online e aguardando clientes."

    entre_conversas = False  # uma acabou, e ainda não dissemos que pode vir a próxima

    def entrar(self) -> bool:  # um Python velho desiste aqui: use o 3.10
        entrou = super().entrar()
        if entrou:
            self.enviar(Pronto())  # daqui em diante, só se é chamado depois de o dizer de novo
        return entrou

    # A thread de leitura.

    def contar_fila(self, posicao: int | None) -> None:
        self.tela.dizer("(Aguardando clientes...)", "amarelo")

    def contar_conexao(self, nome: str) -> None:
        self.entre_conversas = False
        super().contar_conexao(nome)

    def contar_fim(self, mensagem: str) -> bool:
        self.tela.dizer(f"*** {mensagem} ***", "verde")
        if self.tela.par:
            self.tela.dizer("*** Chat encerrado. ***", "verde")
            self.entre_conversas = True
            self.tela.acabou(tudo=False)
        return False

    # A thread principal.

    def interpretar(self, linha: str) -> Comando | None:
        comando = super().interpretar(linha)
        if self.entre_conversas and (not linha.strip() or isinstance(comando, Mensagem)):
            if self.tela.desfazer_o_enter(linha):
                return None  # quem o apertou ainda não sabia
            # O que se escreveu era para quem já saiu: este Enter só chama o próximo.
            self.entre_conversas = False
            if linha.strip():
                como_o_ter = ": ↑ o traz" if self.tela.interativa else ""
                self.tela.mostrar(f"(Chamando o próximo; o que você escreveu não foi enviado{como_o_ter}.)", "amarelo")
            return Pronto()
        return comando


def main() -> int:
    """O comando `python atendente.py`."""
    return cliente.main(Atendente)


if __name__ == "__main__":
    sys.exit(main())
